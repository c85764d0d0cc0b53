"""Arguments arrive unchanged, with a signature that the panel accepts, according to an independent verifier.

A server and a client live for thousands of examples; a verifier that shares nothing with the package looks at the exact
bytes of each request.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panelica_async import PanelicaClient, PanelicaError
from panelica_async.core.address import PUBLIC_PREFIX
from panelica_async.core.request import CONTROL_CHARACTER
from tests.conftest import API_KEY, API_SECRET
from tests.support.raw_server import RawRequest, RawServer
from tests.transport import verifier

Send = Callable[[], Awaitable[object]]

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
EXAMPLES = 400
"""Examples for each of the six properties of requests."""

properties = settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])

AWKWARD = " +%&;:~'\"=?#@!$()*,[]{}|^`<>ş€😀\u200b\u0301"
texts = st.text(st.one_of(st.sampled_from(AWKWARD), st.characters(exclude_categories=["Cs"])))
# tests/core/test_request.py tests what `path_segment` refuses.
ids = st.text(st.one_of(st.sampled_from(AWKWARD), st.characters(exclude_categories=["Cs", "Cc"])), min_size=1).filter(
    lambda text: text.strip() and text not in {".", ".."} and not set(text) & {"/", "\\"}
)


def is_segment(text: str) -> bool:
    """Return whether a text can be a segment of a path, also where a server decodes it once more."""
    decoded = unquote(text)
    return (
        decoded not in {"", ".", ".."} and not set(decoded) & {"/", "\\"} and CONTROL_CHARACTER.search(decoded) is None
    )


segments = texts.filter(is_segment)
filled_texts = texts.filter(str.strip)

offsets = st.timedeltas(timedelta(hours=-14), timedelta(hours=14)).map(
    lambda offset: timezone(timedelta(seconds=offset // timedelta(seconds=1)))
)
# A day from the ends of the calendar, so that every one of them exists in UTC.
moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=offsets)  # noqa: DTZ001 - bounds are naive
scalars = st.one_of(
    texts, st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), moments, st.uuids()
)
queries = st.dictionaries(texts, st.one_of(scalars, st.lists(scalars, min_size=1, max_size=3)), max_size=4)
documents = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        texts,
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


class Wire:
    """A recording panel and its client."""

    def __init__(self, server: RawServer, panel: PanelicaClient) -> None:
        self.server = server
        self.panel = panel

    async def sent(self, send: Send) -> RawRequest:
        """Return the request of a call, after checking that the panel accepts it."""
        request = await self.recorded(send)
        assert verifier.accepts(request, API_SECRET)
        return request

    async def recorded(self, send: Send) -> RawRequest:
        """Return the request of a call."""
        self.server.requests.clear()
        # The server answers everything with an empty object.
        with contextlib.suppress(PanelicaError):
            await send()
        [request] = self.server.requests
        return request


@pytest.fixture
async def wire(server: RawServer) -> AsyncIterator[Wire]:
    async with PanelicaClient(server.origin, api_key=API_KEY, api_secret=API_SECRET, tier="enterprise") as panel:
        # A look-up of what the reply lacks would be another request.
        yield Wire(server, panel.with_options(look_up_lost=False))


def reads_as(text: str, value: object) -> bool:
    """Return whether a text in a query stands for a value."""
    match value:
        case bool():
            return text == ("true" if value else "false")
        case int() | float():
            return type(value)(text) == value
        case datetime():
            return text.endswith("Z") and datetime.fromisoformat(text) == value.astimezone(UTC)
        case UUID():
            return text == str(value)
        case _:
            return text == value


def says(query: list[tuple[str, str]], sent: dict[str, Any]) -> bool:
    """Return whether a query holds the arguments in their order, lists item by item."""
    wanted = [(name, item) for name, value in sent.items() for item in (value if isinstance(value, list) else [value])]
    return len(query) == len(wanted) and all(
        have[0] == want[0] and reads_as(have[1], want[1]) for have, want in zip(query, wanted, strict=True)
    )


def encoded(text: str) -> str:
    """Percent-encode every byte of a text."""
    return "".join(f"%{byte:02x}" for byte in text.encode())


@properties
@given(ids, ids, st.sampled_from(["get", "delete", "backup", "restore", "record", "service"]))
async def test_ids_in_paths_arrive_unchanged(wire: Wire, first: str, second: str, kind: str) -> None:
    panel = wire.panel
    calls: dict[str, tuple[Send, str]] = {
        "get": (lambda: panel.domains.get(first), f"/v1/domains/{first}"),
        "delete": (lambda: panel.accounts.delete(first), f"/v1/accounts/{first}"),
        "backup": (lambda: panel.backups.delete(first), f"/v1/backups/{first}"),
        "restore": (lambda: panel.backups.restore(first), f"/v1/backups/{first}/restore"),
        "record": (
            lambda: panel.dns.records.update(first, second, content=second),
            f"/v1/dns/zones/{first}/records/{second}",
        ),
        "service": (lambda: panel.server.services.restart(first), f"/v1/server/services/{first}/restart"),
    }
    send, path = calls[kind]
    assert verifier.path_of(await wire.sent(send)) == path


@properties
@given(filled_texts, filled_texts, st.integers(1), st.sampled_from(["list", "read", "delete", "databases"]))
async def test_query_arguments_arrive_unchanged(wire: Wire, path: str, owner: str, page: int, kind: str) -> None:
    files, databases = wire.panel.files, wire.panel.databases
    calls: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
        "list": (files.list, {"path": path, "user_id": owner}),
        "read": (files.read, {"path": path}),
        "delete": (files.delete, {"path": path, "user_id": owner}),
        "databases": (databases.list, {"page": page, "sort": path, "domain_id": owner}),
    }
    call, arguments = calls[kind]
    request = await wire.sent(lambda: call(**arguments))
    assert says(verifier.query_of(request), arguments)


@properties
@given(ids, filled_texts, filled_texts, st.sampled_from(["domain", "file", "record", "webhook"]), documents)
async def test_body_arguments_arrive_unchanged(
    wire: Wire, id: str, path: str, text: str, kind: str, document: Any
) -> None:
    panel = wire.panel
    destination = {"config": document, text: path}
    event = {"name": path, "destination_type": path, "destination_config": destination, "events": [path, text]}
    calls: dict[str, tuple[Send, dict[str, Any]]] = {
        "domain": (lambda: panel.domains.update(id, php_version=text), {"php_version": text}),
        "file": (lambda: panel.files.write(path=path, content=text), {"path": path, "content": text}),
        "record": (
            lambda: panel.dns.records.create(id, name=path, type="TXT", content=text, ttl=60),
            {"name": path, "type": "TXT", "content": text, "ttl": 60},
        ),
        "webhook": (lambda: panel.webhooks.create(**event), event),
    }
    send, body = calls[kind]
    assert json.loads((await wire.sent(send)).body) == body


@properties
@given(st.sampled_from(METHODS), st.lists(segments, min_size=1, max_size=3), st.booleans())
async def test_raw_paths_arrive_unchanged(wire: Wire, method: str, segments: list[str], is_encoded: bool) -> None:
    path = "/".join(["/v1", *segments])
    # What is encoded already stays, and a question mark would begin the query.
    must_be = is_encoded or any(char in path for char in "%?#")
    written = "/".join(["/v1", *map(encoded, segments)]) if must_be else path
    assert verifier.path_of(await wire.sent(lambda: wire.panel.request(method, written))) == path


@properties
@given(st.sampled_from(METHODS), queries)
async def test_raw_queries_arrive_unchanged(wire: Wire, method: str, query: dict[str, Any]) -> None:
    request = await wire.sent(lambda: wire.panel.request(method, "/v1/search", query=query))
    assert says(verifier.query_of(request), query)


@properties
@given(st.sampled_from(METHODS), documents, queries)
async def test_raw_bodies_arrive_unchanged(wire: Wire, method: str, document: Any, query: dict[str, Any]) -> None:
    request = await wire.sent(lambda: wire.panel.request(method, "/v1/x", json=document, query=query))
    assert json.loads(request.body) == document
    assert says(verifier.query_of(request), query)


def sign_the_prefix(raw_path: str, prefix: str = "") -> str:
    return PUBLIC_PREFIX + verifier.percent_decoded(raw_path.encode()).decode()


def sign_the_encoded_path(raw_path: str, prefix: str = "") -> str:
    return raw_path.removeprefix(prefix)


def sign_the_decoded_query(
    method: str, path: str, raw_query: str, timestamp: str, body: bytes, *, content_type: str = ""
) -> bytes:
    assert method == "DELETE"
    return f"{method}{path}?{verifier.percent_decoded(raw_query.encode()).decode()}{timestamp}".encode()


def always(method: str, content_type: str) -> bool:
    return True


MISTAKES: dict[str, dict[str, Any]] = {
    "prefix signed": {"core.signing.signed_path": sign_the_prefix},
    "path encoded": {"core.signing.signed_path": sign_the_encoded_path},
    "query decoded": {"core.signing.string_to_sign": sign_the_decoded_query},
    "body of DELETE signed": {"core.signing.signs_body": always, "transport.signing.signs_body": always},
}


@pytest.mark.parametrize("mistake", MISTAKES)
@settings(properties, max_examples=25)
@given(ids, texts)
async def test_wrongly_signed_request_is_rejected(wire: Wire, mistake: str, id: str, text: str) -> None:
    def send() -> Awaitable[object]:
        # A call in which every mistake shows.
        return wire.panel.request("DELETE", f"/v1/backups/{encoded(id)}", query={"path": f"/ {text}"}, json=text)

    await wire.sent(send)
    with pytest.MonkeyPatch.context() as patch:
        for name, wrong in MISTAKES[mistake].items():
            patch.setattr(f"panelica_async.{name}", wrong)
        request = await wire.recorded(send)
    assert not verifier.accepts(request, API_SECRET)
