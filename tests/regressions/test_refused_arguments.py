"""Invalid arguments, refused before anything is sent: nothing listens where this client points."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from panelica_async import UNSET, PanelicaClient

NOTHING: Any = None

REFUSED: dict[str, tuple[Callable[[PanelicaClient], Awaitable[Any]], str]] = {
    # Current panels restore everything in the archive when no domain is named (evidence: backups-restore).
    "an empty list": (
        lambda panel: panel.backups.restore("b1", domain_ids=[]),
        "backups.restore: domain_ids must not be empty",
    ),
    "an empty text in a list": (
        lambda panel: panel.backups.create(domain_ids=["d1", ""]),
        "backups.create: domain_ids must not contain ''",
    ),
    "null in a list": (
        lambda panel: panel.backups.create(domain_ids=[NOTHING]),
        "backups.create: domain_ids must not contain None",
    ),
    "no id": (lambda panel: panel.domains.get(NOTHING), "domains.get: id must be an id or a name, not None"),
    "an id that is not given": (
        lambda panel: panel.domains.get(UNSET),
        "domains.get: id must be an id or a name, not UNSET",
    ),  # type: ignore[arg-type]  # the mistake
}


@pytest.fixture
async def nowhere() -> AsyncIterator[PanelicaClient]:
    async with PanelicaClient("http://127.0.0.1:1", api_key="pk_x", api_secret="sk_x", tier="enterprise") as panel:
        yield panel


@pytest.mark.parametrize("mistake", REFUSED)
async def test_mistaken_argument_is_refused(nowhere: PanelicaClient, mistake: str) -> None:
    send, message = REFUSED[mistake]
    with pytest.raises(ValueError, match=message):
        await send(nowhere)
