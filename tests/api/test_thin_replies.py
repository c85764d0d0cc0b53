"""Writes on a panel with thin replies: no error, and the right id where it can be known."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from panelica_async import PanelicaClient
from panelica_async.core.operation import Dialect
from panelica_async.models import Domain
from panelica_async.sandbox import Sandbox
from tests.support.faulty_proxy import FaultyProxy

PASSWORD = "correct horse 9"

Send = Callable[[PanelicaClient, Domain, dict[str, str]], Awaitable[Any]]
Thin = Callable[[Any, str | None], web.Response]


def answer(payload: Any) -> web.Response:
    return web.json_response(payload)


def with_id(shape: Callable[[str | None], Any]) -> Thin:
    return lambda _, made: answer(shape(made))


# Each with whether it still shows an id. `data` is the reply of the panel without its envelope.
SHAPES: dict[str, tuple[Thin, bool]] = {
    "row": (lambda data, _: answer(data), True),
    "enveloped row": (lambda data, _: answer({"status": "success", "data": data}), True),
    "id": (with_id(lambda made: {"id": made}), True),
    "enveloped id": (with_id(lambda made: {"status": "success", "data": {"id": made}}), True),
    "id at top level": (with_id(lambda made: {"status": "success", "message": "Done", "id": made}), True),
    "message": (lambda *_: answer({"message": "Done"}), False),
    "enveloped message": (lambda *_: answer({"status": "success", "message": "Done"}), False),
    "status": (lambda *_: answer({"status": "success"}), False),
    "204": (lambda *_: web.Response(status=204), False),
    "{}": (lambda *_: answer({}), False),
    "enveloped {}": (lambda *_: answer({"status": "success", "data": {}}), False),
    "null": (lambda *_: answer(None), False),
    "enveloped null": (lambda *_: answer({"status": "success", "data": None}), False),
}


class ThinPanel(FaultyProxy):
    """Makes the replies to writes thin."""

    def __init__(self, box: Sandbox) -> None:
        super().__init__(box)
        self.thin: Thin | None = None
        self.made: str | None = None
        """Id of the object that the last write made, as the panel reported it."""

    async def forward(self, request: web.Request) -> web.Response:
        response = await super().forward(request)
        if self.thin is None or request.method == "GET" or response.status >= 300:
            return response
        payload = json.loads(response.body) if isinstance(response.body, bytes) and response.body else None
        data = payload["data"] if isinstance(payload, dict) and "data" in payload else payload
        # Of the calls that a create takes, the first made it.
        self.made = self.made or (data.get("id") if isinstance(data, dict) else None)
        return self.thin(data, self.made)


# By operation: how to call it, and whether a list shows the object of a create without an id.
CREATES: dict[str, tuple[Send, bool]] = {
    "accounts.create": (
        lambda panel, _, names: panel.accounts.create(
            username=names["short"], email=f"{names['short']}@example.com", password=PASSWORD
        ),
        True,
    ),
    "domains.create": (
        lambda panel, site, names: panel.domains.create(domain=names["domain"], user_id=str(site.user_id)),
        True,
    ),
    "dns.records.create": (
        lambda panel, site, names: panel.dns.records.create(
            site.id, name=names["short"], type="A", content="192.0.2.1", ttl=300
        ),
        True,
    ),
    "databases.create": (
        lambda panel, site, names: panel.databases.create(
            name=names["short"], domain_id=site.id, username=names["short"], password=PASSWORD
        ),
        True,
    ),
    "email.accounts.create": (
        lambda panel, site, names: panel.email.accounts.create(
            local_part=names["short"], domain_id=site.id, password=PASSWORD
        ),
        True,
    ),
    "ftp.accounts.create": (
        lambda panel, site, names: panel.ftp.accounts.create(
            username=names["short"], domain_id=site.id, password=PASSWORD
        ),
        True,
    ),
    "plans.create": (
        lambda panel, _, names: panel.plans.create(name=names["short"], slug=names["short"], max_domains=3),
        True,
    ),
    "plans.create with zeros": (
        lambda panel, _, names: panel.plans.create(name=names["short"], slug=names["short"], max_domains=0),
        True,
    ),
    "webhooks.create": (
        lambda panel, _, names: panel.webhooks.create(
            name=names["short"],
            destination_type="http",
            destination_config={"url": "https://example.com"},
            events=["domain.created"],
        ),
        False,
    ),
    "api_keys.create": (
        lambda panel, _, names: panel.api_keys.create(name=names["short"], scopes=["domains:read"]),
        False,
    ),
}


@pytest.mark.parametrize("dialect", ["reference", "panel"])
@pytest.mark.parametrize("name", CREATES)
async def test_create_returns_the_id_of_its_object(dialect: Dialect, name: str) -> None:
    send, is_listed = CREATES[name]
    async with Sandbox(tier="enterprise", dialect=dialect) as box, ThinPanel(box) as proxy:
        key = {"api_key": box.api_key, "api_secret": box.api_secret}
        async with PanelicaClient(proxy.base_url, dialect=dialect, tier="enterprise", **key) as panel:
            account = await panel.accounts.create(username="acme", email="acme@example.com", password=PASSWORD)
            site = await panel.domains.create(domain="acme.example", user_id=account.id)
            for number, (shape, (thin, tells_id)) in enumerate(SHAPES.items()):
                names = {"short": f"n{number}", "domain": f"n{number}.example"}
                proxy.thin, proxy.made = thin, None
                made = await send(panel, site, names)
                assert proxy.made, shape
                assert made.id == (proxy.made if is_listed or tells_id else ""), shape


UPDATES: dict[str, Send] = {
    "accounts.update": lambda panel, site, ids: panel.accounts.update(str(site.user_id), plan_id=ids["plan"]),
    "accounts.suspend": lambda panel, site, _: panel.accounts.suspend(str(site.user_id)),
    "accounts.unsuspend": lambda panel, site, _: panel.accounts.unsuspend(str(site.user_id)),
    "domains.update": lambda panel, site, _: panel.domains.update(site.id, php_version="8.3"),
    "domains.suspend": lambda panel, site, _: panel.domains.suspend(site.id),
    "domains.unsuspend": lambda panel, site, _: panel.domains.unsuspend(site.id),
    "dns.records.update": lambda panel, site, ids: panel.dns.records.update(
        site.id, ids["record"], content="192.0.2.9"
    ),
    "plans.update": lambda panel, _, ids: panel.plans.update(ids["plan"], max_databases=0),
    "files.write": lambda panel, _, ids: panel.files.write(path="/home/acme/note.txt", content="hello"),
    "server.services.restart": lambda panel, *_: panel.server.services.restart("nginx"),
}
OWN: dict[str, str] = {"accounts.update": "account", "domains.update": "site", "dns.records.update": "record"}


@pytest.mark.parametrize("dialect", ["reference", "panel"])
async def test_change_returns_the_changed_object(dialect: Dialect) -> None:
    async with Sandbox(tier="enterprise", dialect=dialect) as box, ThinPanel(box) as proxy:
        key = {"api_key": box.api_key, "api_secret": box.api_secret}
        async with PanelicaClient(proxy.base_url, dialect=dialect, tier="enterprise", **key) as panel:
            account = await panel.accounts.create(username="acme", email="acme@example.com", password=PASSWORD)
            site = await panel.domains.create(domain="acme.example", user_id=account.id)
            record = await panel.dns.records.create(site.id, name="www", type="A", content="192.0.2.1")
            plan = await panel.plans.create(name="Gold", slug="gold")
            ids = {"account": account.id, "site": site.id, "record": record.id, "plan": plan.id}
            for shape, (thin, _) in SHAPES.items():
                proxy.thin = thin
                for name, send in UPDATES.items():
                    proxy.made = None
                    changed = await send(panel, site, ids)
                    if name in OWN:
                        assert changed.id == ids[OWN[name]], (name, shape)
                    match name:
                        case "dns.records.update":
                            assert (changed.name, changed.content, changed.zone_id) == ("www", "192.0.2.9", site.id), (
                                shape
                            )
                        case "domains.update":
                            assert (changed.domain, changed.php_version) == ("acme.example", "8.3"), shape
                        case "plans.update":
                            assert (changed.name, changed.max_databases) == ("Gold", 0), shape


@pytest.mark.parametrize("dialect", ["reference", "panel"])
async def test_deletion_succeeds_with_any_reply(dialect: Dialect) -> None:
    async with Sandbox(tier="enterprise", dialect=dialect) as box, ThinPanel(box) as proxy:
        key = {"api_key": box.api_key, "api_secret": box.api_secret}
        async with PanelicaClient(proxy.base_url, dialect=dialect, tier="enterprise", **key) as panel:
            account = await panel.accounts.create(username="acme", email="acme@example.com", password=PASSWORD)
            site = await panel.domains.create(domain="acme.example", user_id=account.id)
            for number, (thin, _) in enumerate(SHAPES.values()):
                name = f"n{number}"
                proxy.thin = None
                record = await panel.dns.records.create(site.id, name=name, type="A", content="192.0.2.1")
                mailbox = await panel.email.accounts.create(local_part=name, domain_id=site.id, password=PASSWORD)
                other = await panel.domains.create(domain=f"{name}.example", user_id=account.id)
                proxy.thin = thin
                await panel.dns.records.delete(site.id, record.id)
                await panel.email.accounts.delete(mailbox.id)
                await panel.domains.delete(other.id)
            proxy.thin = None
            assert [domain.id async for domain in panel.domains.list()] == [site.id]
            assert await panel.email.accounts.list(domain_id=site.id).collect() == []
