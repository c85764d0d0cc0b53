import pytest

from panelica_async import NotFoundError, PanelicaClient
from panelica_async.catalog import SERVICES
from panelica_async.models import Service, ServiceStatus


async def service(panel: PanelicaClient, name: str) -> Service:
    [found] = [found async for found in panel.server.services.list() if found.name == name]
    return found


async def test_server_status(panel: PanelicaClient) -> None:
    status = await panel.server.status()
    assert (status.status, status.hostname) == ("online", "server1.example.com")
    assert status.cpu is not None
    assert status.memory is not None
    assert status.disk is not None
    assert (status.cpu.cores, status.memory.total_mb, status.disk.total_gb) == (8, 32768, 500.0)
    assert status.load_average == [0.45, 0.52, 0.48]
    assert (status.uptime_seconds or 0) > 0


async def test_server_services_list(panel: PanelicaClient) -> None:
    services = await panel.server.services.list().collect()
    assert {found.name: found.display_name for found in services} == dict(SERVICES)
    assert {found.status for found in services} == {ServiceStatus.RUNNING}


async def test_server_services_start(panel: PanelicaClient) -> None:
    await panel.server.services.stop("php-fpm")
    assert (await panel.server.services.start("php-fpm")).message == "PHP-FPM is running"
    assert (await service(panel, "php-fpm")).status is ServiceStatus.RUNNING
    with pytest.raises(NotFoundError):
        await panel.server.services.start("minecraft")


async def test_server_services_stop(panel: PanelicaClient) -> None:
    assert (await panel.server.services.stop("nginx")).message == "Nginx is stopped"
    stopped = await service(panel, "nginx")
    assert (stopped.status, stopped.pid, stopped.uptime_seconds) == (ServiceStatus.STOPPED, None, None)


async def test_server_services_restart(panel: PanelicaClient) -> None:
    before = await service(panel, "redis")
    assert (await panel.server.services.restart("redis")).message == "Redis restarted"
    after = await service(panel, "redis")
    assert after.status is ServiceStatus.RUNNING
    assert after.pid != before.pid
