import pytest

from panelica_async import NotFoundError, PanelicaClient, PermissionDeniedError
from panelica_async.models import Account, Domain, FileType
from tests.operations.conftest import DOCUMENT_ROOT

ODD_NAME = f"{DOCUMENT_ROOT}/şubat + märz & 100%?.txt"


async def test_files_list(panel: PanelicaClient, account: Account, domain: Domain) -> None:
    await panel.files.write(path=f"{DOCUMENT_ROOT}/index.html", content="<h1>Acme</h1>")
    [home] = await panel.files.list(path="/home/acme").collect()
    assert (home.name, home.type) == ("acme.example", FileType.DIRECTORY)
    [index] = await panel.files.list(path=DOCUMENT_ROOT, user_id=account.id).collect()
    assert (index.name, index.type, index.size) == ("index.html", FileType.FILE, 13)
    with pytest.raises(PermissionDeniedError):
        await panel.files.list(path="/etc")


async def test_files_read(panel: PanelicaClient, domain: Domain) -> None:
    await panel.files.write(path=ODD_NAME, content='line "1"\nş')
    read = await panel.files.read(path=ODD_NAME)
    assert (read.path, read.content) == (ODD_NAME, 'line "1"\nş')


async def test_files_write(panel: PanelicaClient, domain: Domain) -> None:
    path = f"{DOCUMENT_ROOT}/index.html"
    assert (await panel.files.write(path=path, content="")).message == "File written"
    assert (await panel.files.read(path=path)).content == ""
    large = "x" * 3_000_000
    await panel.files.write(path=path, content=large)
    assert (await panel.files.read(path=path)).content == large


async def test_files_delete(panel: PanelicaClient, domain: Domain) -> None:
    await panel.files.write(path=ODD_NAME, content="x")
    assert await panel.files.delete(path=ODD_NAME) is None
    with pytest.raises(NotFoundError):
        await panel.files.read(path=ODD_NAME)
