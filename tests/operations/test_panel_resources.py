"""Operations that only current panels offer, from a user's program to the state of the sandbox and back."""

from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from panelica_async import MissingScopeError, NotFoundError, PanelicaClient
from panelica_async.models import Account, Domain
from panelica_async.sandbox import Sandbox

T = TypeVar("T")
DOCUMENT_ROOT = "/home/acme/acme.example/public_html"


@pytest.fixture(params=[False, True], ids=["full", "thin"])
async def box(clock: Callable[[], float], request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    async with Sandbox(tier="enterprise", clock=clock, dialect="panel", thin_replies=request.param) as box:
        yield box


@pytest.fixture
async def panel(box: Sandbox) -> AsyncIterator[PanelicaClient]:
    async with PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret, dialect="panel") as panel:
        yield panel


@pytest.fixture
async def domain(panel: PanelicaClient, account: Account) -> Domain:
    return await panel.domains.create(domain="acme.example", user_id=account.id, php_version="8.3")


def only(rows: Iterable[T]) -> T:
    [row] = rows
    return row


async def test_account_shows_what_it_has_and_uses(panel: PanelicaClient, account: Account, domain: Domain) -> None:
    await panel.email.accounts.create(domain_id=domain.id, local_part="info", password="long enough 42")
    stats = await panel.accounts.stats(account.id)
    assert (stats.domain_count, stats.email_count, stats.database_count) == (1, 1, 0)
    assert (await panel.accounts.disk_usage(account.id)).quota_mb == 0
    assert (await panel.accounts.resource_usage(account.id)).available
    assert only(await panel.accounts.domains.list(account.id).collect()).domain == "acme.example"
    assert only(await panel.accounts.emails.list(account.id).collect()).email == "info@acme.example"
    assert (await panel.bandwidth.accounts.get(account.id)).bytes_used is not None
    await panel.accounts.change_password(account.id, new_password="another long 42")


async def test_plan_is_read_and_deleted(panel: PanelicaClient) -> None:
    plan = await panel.plans.create(name="Tiny", max_domains=1)
    assert (await panel.plans.get(plan.id)).name == "Tiny"
    await panel.plans.delete(plan.id)
    with pytest.raises(NotFoundError):
        await panel.plans.get(plan.id)


async def test_php_and_web_server_of_a_domain(panel: PanelicaClient, domain: Domain) -> None:
    assert "8.3" in [row.version for row in await panel.php.versions.list().collect()]
    await panel.domains.php.update(
        domain.id,
        php_version="8.2",
        memory_limit="512M",
        max_execution_time="120",
        upload_max_filesize="32M",
        post_max_size="32M",
    )
    php = await panel.domains.php.get(domain.id)
    assert (php.php_version, php.memory_limit, php.max_execution_time) == ("8.2", "512M", "120")
    await panel.domains.web_server.update(domain.id, web_server="nginx_only")
    assert await panel.domains.web_server.get(domain.id) == {"web_server": "nginx_only"}


async def test_redirects_come_and_go(panel: PanelicaClient, domain: Domain) -> None:
    redirect = await panel.domains.redirects.create(
        domain.id, source_path="/old", destination_url="https://acme.example/new"
    )
    row = only(await panel.domains.redirects.list(domain.id).collect())
    assert (row.id, row.source_path, row.redirect_type) == (redirect.id, "/old", "301")
    await panel.domains.redirects.delete(redirect.id)
    assert await panel.domains.redirects.list(domain.id).collect() == []


async def test_subdomains_come_and_go(panel: PanelicaClient, domain: Domain) -> None:
    subdomain = await panel.domains.subdomains.create(domain.id, subdomain_name="blog", document_root="")
    row = await panel.domains.subdomains.get(subdomain.id)
    assert (row.full_name, row.document_root) == ("blog.acme.example", "/home/acme/blog.acme.example")
    await panel.domains.subdomains.delete(subdomain.id)
    assert await panel.domains.subdomains.list(domain.id).collect() == []


async def test_mail_of_a_domain(panel: PanelicaClient, domain: Domain) -> None:
    mailbox = await panel.email.accounts.create(domain_id=domain.id, local_part="info", password="long enough 42")
    await panel.email.accounts.change_password(mailbox.id, password="another long 42")
    await panel.email.forwarders.create(domain.id, source="sales@acme.example", destination="info@acme.example")
    forwarder = only(await panel.email.forwarders.list(domain.id).collect())
    assert (forwarder.source_email, forwarder.destination_emails) == ("sales@acme.example", ["info@acme.example"])
    await panel.email.forwarders.delete(forwarder.id)
    answer = await panel.email.autoresponders.create(
        domain.id, email_account_id=mailbox.id, subject="Away", message="Back on Monday."
    )
    row = only(await panel.email.autoresponders.list(domain.id).collect())
    assert row.email_account is not None
    assert (row.id, row.email_account.email) == (answer.id, "info@acme.example")
    await panel.email.autoresponders.delete(answer.id)
    await panel.domains.dkim.disable(domain.id)
    mail = await panel.domains.email_deliverability(domain.id)
    assert mail.dkim is not None
    assert mail.spf is not None
    assert (mail.dkim.enabled, mail.spf.enabled) == (False, True)
    await panel.domains.dkim.enable(domain.id)
    assert (await panel.domains.dkim.get(domain.id)).enabled
    assert (await panel.domains.spf.get(domain.id)).record == "v=spf1 a mx ~all"


async def test_cron_job_runs_and_is_turned_off(panel: PanelicaClient, account: Account, domain: Domain) -> None:
    job = await panel.cron_jobs.create(domain_id=domain.id, task_name="mails", command="php cron.php", hour="3")
    assert (job.task_name, job.hour) == ("mails", "3")
    row = only(await panel.cron_jobs.list().collect())
    assert (row.id, row.user_id, row.minute, row.enabled) == (job.id, account.id, "*", True)
    assert (await panel.cron_jobs.run(job.id)).output == "php cron.php: done"
    await panel.cron_jobs.toggle(job.id)
    await panel.cron_jobs.update(job.id, minute="*/5")
    row = await panel.cron_jobs.get(job.id)
    assert (row.enabled, row.minute, row.last_run is None) == (False, "*/5", False)
    await panel.cron_jobs.delete(job.id)
    assert await panel.cron_jobs.list().collect() == []


async def test_database_users_come_and_go(panel: PanelicaClient, domain: Domain) -> None:
    user = await panel.databases.users.create_for_domain(
        domain_id=domain.id, username="shop", password="long enough 42"
    )
    row = only(await panel.databases.users.list().collect())
    assert (row.id, row.username) == (user.id, "acme_shop")
    await panel.databases.users.change_password(user.id, password="another long 42")
    assert (await panel.databases.users.get(user.id)).domain_id == domain.id
    await panel.databases.users.delete(user.id)
    assert await panel.databases.users.list().collect() == []


async def test_ftp_user_is_suspended(panel: PanelicaClient, domain: Domain) -> None:
    user = await panel.ftp.accounts.create(domain_id=domain.id, username="web", password="long enough 42")
    await panel.ftp.accounts.change_password(user.id, password="another long 42")
    await panel.ftp.accounts.suspend(user.id)
    assert (await panel.ftp.accounts.get(user.id)).status == "suspended"
    await panel.ftp.accounts.unsuspend(user.id)
    assert (await panel.ftp.accounts.get(user.id)).status == "active"


async def test_files_are_created_moved_and_deleted(panel: PanelicaClient, account: Account, domain: Domain) -> None:
    owner: dict[str, Any] = {"user_id": account.id}
    await panel.files.create(**owner, path="/home/acme", name="my files", type="folder")
    await panel.files.create(**owner, path="/home/acme/my files", name="a+b ö.txt", type="file", content="Grüße")
    await panel.files.rename(**owner, path="/home/acme/my files/a+b ö.txt", new_name="c d.txt")
    source = "/home/acme/my files/c d.txt"
    await panel.files.copy(**owner, source_paths=[source], destination_path=DOCUMENT_ROOT)
    await panel.files.permissions.update(**owner, path=source, permissions="0600")
    await panel.files.compress(**owner, source_paths=[source], archive_path="/home/acme/a.zip", format="zip")
    await panel.files.delete(path=source)
    trashed = await panel.files.trash.list(user_id=account.id)
    assert [row["original_path"] for row in trashed] == [source]
    await panel.files.extract(**owner, archive_path="/home/acme/a.zip", destination_path="/home/acme/out")
    rows = await panel.files.list(path="/home/acme/out").collect()
    assert [(row.name, row.size) for row in rows] == [("c d.txt", len("Grüße".encode()))]
    assert (await panel.files.read(path=f"{DOCUMENT_ROOT}/c d.txt")).content == "Grüße"
    assert (await panel.files.accessible_directories(user_id=account.id)).directories == [
        "/home/acme/",
        "/home/acme/acme.example",
    ]
    assert domain.user_id == account.id


async def test_upload_comes_back_in_a_download(panel: PanelicaClient, account: Account, tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    file = tmp_path / 'größe "1".bin'
    file.write_bytes(content)
    result = await panel.files.upload(user_id=account.id, target_path="/home/acme", file=file)
    assert result.success
    assert await panel.files.download(user_id=account.id, path=f"/home/acme/{file.name}") == content
    copy = await panel.files.download_to(tmp_path / "copy", user_id=account.id, path=f"/home/acme/{file.name}")
    assert copy.read_bytes() == content


async def test_app_is_deployed_and_served_on_a_domain(panel: PanelicaClient, account: Account, domain: Domain) -> None:
    templates = await panel.docker.templates.list(owner_user_id=account.id).collect()
    assert "ghost" in [template.slug for template in templates]
    template = (await panel.docker.templates.get("ghost")).template
    assert template is not None
    assert [variable.key for variable in template.env_vars or () if variable.required] == ["url"]
    app = await panel.docker.templates.deploy(
        "ghost", owner_user_id=account.id, container_name="blog", env={"url": "https://acme.example"}
    )
    assert app.container_id is not None
    assert "ADMIN_PASSWORD" in (app.credentials or {})
    assert str(app.credentials) not in repr(app)
    await panel.docker.domains.link(domain_id=domain.id, container_id=app.container_id, owner_user_id=account.id)
    link = only(await panel.docker.domains.list(owner_user_id=account.id).collect())
    assert (link.domain_id, link.container_name) == (domain.id, "acme_blog")
    await panel.docker.domains.unlink(domain_id=domain.id, owner_user_id=account.id)
    await panel.docker.containers.stop(app.container_id)
    states = {row.name: row.state for row in await panel.docker.containers.list().collect()}
    assert states == {"/acme_blog": "exited", "/acme_blog_database": "running"}
    await panel.docker.containers.delete(app.container_id, remove_volumes=True)


async def test_app_is_one_thing_from_deployment_to_deletion(panel: PanelicaClient, account: Account) -> None:
    stacks = panel.docker.stacks
    app = await stacks.deploy(
        "ghost", owner_user_id=account.id, container_name="blog", env={"url": "https://acme.example"}
    )
    other = await stacks.deploy("n8n", owner_user_id=account.id, container_name="flows")
    stack = await stacks.wait(app)
    assert (stack.app.name, [helper.name for helper in stack.helpers]) == ("/acme_blog", ["/acme_blog_database"])
    assert (stack.template, stack.owner_user_id, stack.is_running) == ("ghost", account.id, True)
    assert [len(found.containers) for found in await stacks.list(owner_user_id=account.id)] == [2, 1]
    assert await stacks.list(owner_user_id="another") == []
    assert (await stacks.get("acme_blog_database")).name == stack.name
    await stacks.stop(app)
    assert {row.state for row in (await stacks.get(stack.name)).containers} == {"exited"}
    assert (await stacks.wait(app)).has_failed
    await stacks.start(app)
    assert (await stacks.get(app)).is_running
    await stacks.delete(app, remove_volumes=True)
    with pytest.raises(NotFoundError, match="there is no app"):
        await stacks.delete(app)
    assert [found.app.name for found in await stacks.list()] == [f"/{other.container_name}"]


async def test_deletion_of_an_app_goes_on_where_it_failed(panel: PanelicaClient, account: Account) -> None:
    app = await panel.docker.stacks.deploy(
        "ghost", owner_user_id=account.id, container_name="blog", env={"url": "https://acme.example"}
    )
    stack = await panel.docker.stacks.get(app)
    await panel.docker.containers.delete(stack.helpers[0].id, force=True)
    await panel.docker.stacks.delete(app)
    assert await panel.docker.stacks.list() == []


async def test_wordpress_site_is_signed_in_to_and_backed_up(
    panel: PanelicaClient, account: Account, domain: Domain, later: Callable[[float], None]
) -> None:
    await panel.files.write(path=f"{DOCUMENT_ROOT}/wp-config.php", content="<?php")
    site = only(await panel.wordpress.list(account_id=account.id).collect())
    assert (site.id, site.site_url) == (domain.id, "https://acme.example")
    link = await panel.wordpress.auto_login(site.id, account_id=account.id)
    assert link.login_url.startswith("https://acme.example/")
    assert link.login_url not in repr(link)
    await panel.wordpress.backups.create(site.id, account_id=account.id)
    assert only(await panel.wordpress.backups.list(site.id).collect()).status == "running"
    later(90)
    backup = only(await panel.wordpress.backups.list(site.id).collect())
    assert backup.status == "completed"
    await panel.wordpress.backups.restore(site.id, backup.id)
    assert (await panel.wordpress.update_core(site.id))["result"]


async def test_zone_at_cloudflare_is_changed(panel: PanelicaClient) -> None:
    zone = (await panel.cloudflare.zones.list().collect())[0]
    record: dict[str, Any] = {"type": "A", "name": "shop.example.com", "content": "192.0.2.10"}
    await panel.cloudflare.records.create(zone.id, **record, proxied=True)
    found = only(await panel.cloudflare.records.list(zone.id).collect())
    assert (found.content, found.ttl, found.proxied) == ("192.0.2.10", 1, True)
    await panel.cloudflare.records.update(zone.id, found.id, type="A", name="shop.example.com", content="192.0.2.20")
    assert only(await panel.cloudflare.records.list(zone.id).collect()).content == "192.0.2.20"
    await panel.cloudflare.zones.set_ssl_mode(zone.id, mode="strict")
    await panel.cloudflare.zones.purge_cache(zone.id, purge_everything=True)
    assert (await panel.cloudflare.zones.settings(zone.id)).ssl_mode == "strict"
    await panel.cloudflare.records.delete(zone.id, found.id)


async def test_keys_and_webhooks_are_managed_by_id(panel: PanelicaClient) -> None:
    key = await panel.api_keys.create(name="billing", scopes=["accounts:read"])
    assert (await panel.api_keys.get(key.id)).scopes == ["accounts:read"]
    await panel.api_keys.delete(key.id)
    assert "billing" not in [row.name for row in await panel.api_keys.list().collect()]
    hook = await panel.webhooks.create(
        name="Alerts",
        destination_type="telegram",
        destination_config={"bot_token": "1:x", "chat_id": "-100"},
        events=["domain.created"],
    )
    await panel.webhooks.update(hook.id, name="Warnings")
    assert (await panel.webhooks.get(hook.id)).name == "Warnings"
    await panel.webhooks.delete(hook.id)
    assert await panel.webhooks.list().collect() == []


async def test_apps_licence_and_search_are_read(panel: PanelicaClient, domain: Domain) -> None:
    for apps in (panel.laravel.apps, panel.nodejs.apps, panel.python.apps):
        assert await apps.list().collect() == []
    assert (await panel.license.status())["valid"]
    assert [row["id"] for row in await panel.search(q="acme.ex")] == [domain.id]


@pytest.mark.parametrize("box", [False], indirect=True)
async def test_key_without_the_scope_is_told_which(panel: PanelicaClient, box: Sandbox, domain: Domain) -> None:
    key = await panel.api_keys.create(name="reader", scopes=["accounts:read"])
    async with PanelicaClient(box.base_url, api_key=key.api_key, api_secret=key.api_secret, dialect="panel") as reader:
        with pytest.raises(MissingScopeError) as caught:
            await reader.cron_jobs.create(domain_id=domain.id, task_name="x", command="true")
    assert caught.value.required_scope == "accounts:write"
