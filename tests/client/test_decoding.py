"""Replies of any kind become models, or an error that says where they do not fit."""

import pickle
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import attrs
import pytest

import panelica_async.models
from panelica_async import (
    UNSET,
    BadRequestError,
    DecodeError,
    NotFoundError,
    PanelicaClient,
    PanelicaError,
    RateLimitedError,
    ResponseError,
)
from panelica_async.core.model import Model, OpenEnum
from panelica_async.models import Account, Domain, DomainStatus
from tests.conftest import Connect
from tests.support.raw_server import RawServer, Step, reply

DOMAIN = {
    "id": "d1",
    "domain": "example.com",
    "user_id": "u1",
    "status": "active",
    "php_version": "8.4",
    "ssl_enabled": True,
    "disk_usage_mb": 256,
    "created_at": "2026-03-07T12:00:00Z",
}

Send = Callable[[PanelicaClient], Awaitable[Any]]


async def get(panel: PanelicaClient) -> Domain:
    return await panel.domains.get("d1")


async def fetch(server: RawServer, connect: Connect, step: Step, send: Send = get) -> Any:
    server.script(step)
    return await send(connect())


async def decode_error(server: RawServer, connect: Connect, step: Step, send: Send = get) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        await fetch(server, connect, step, send)
    return caught.value


async def test_reply_becomes_a_model(server: RawServer, connect: Connect) -> None:
    domain = await fetch(server, connect, reply(json=DOMAIN))
    assert domain == Domain(
        id="d1",
        domain="example.com",
        user_id="u1",
        status=DomainStatus.ACTIVE,
        php_version="8.4",
        ssl_enabled=True,
        disk_usage_mb=256,
        created_at=datetime(2026, 3, 7, 12, tzinfo=UTC),
    )
    assert domain.status is DomainStatus.ACTIVE


@pytest.mark.parametrize("field", ["domain", "domain_name", "name"])
@pytest.mark.parametrize("envelope", [lambda data: data, lambda data: {"status": "success", "data": data}])
async def test_reply_in_either_dialect_is_read(
    server: RawServer, connect: Connect, field: str, envelope: Callable[[Any], Any]
) -> None:
    data = {"id": "d1", "user_id": "u1", field: "example.com"}
    assert (await fetch(server, connect, reply(json=envelope(data)))).domain == "example.com"


async def test_null_for_a_required_list_is_an_empty_list(server: RawServer, connect: Connect) -> None:
    step = reply(json={"name": "Billing", "key_prefix": "pk_live_a1", "scopes": None})
    assert (await fetch(server, connect, step, lambda panel: panel.me())).scopes == []


async def test_unknown_fields_and_values_are_kept(server: RawServer, connect: Connect) -> None:
    step = reply(json={**DOMAIN, "status": "parked", "extra": 1, "shiny": {"a": [1]}})
    domain = await fetch(server, connect, step)
    assert domain.extra == {"extra": 1, "shiny": {"a": [1]}}
    assert domain.status == "parked"
    assert isinstance(domain.status, DomainStatus)
    assert "shiny" not in repr(domain)


@pytest.mark.parametrize(
    ("change", "problem", "json_path"),
    [
        ({"id": None}, "expected str, got null", "$.id"),
        ({"id": ["d1"]}, "expected str, got list", "$.id"),
        ({"id": True}, "expected str, got bool", "$.id"),
        ({"domain": {"name": "example.com"}}, "expected str, got object", "$.domain"),
        ({"id": 2.0**60}, "expected str, got float", "$.id"),
    ],
)
async def test_required_field_of_a_wrong_type_raises(
    server: RawServer, connect: Connect, change: dict[str, Any], problem: str, json_path: str
) -> None:
    error = await decode_error(server, connect, reply(json={**DOMAIN, **change}))
    assert (error.message, error.json_path, error.endpoint) == (problem, json_path, "GET /v1/domains/{id}")
    assert '"id"' in error.body


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_id", ["u1"]),
        ("user_id", False),
        ("status", 1),
        ("ssl_enabled", "true"),
        ("ssl_enabled", 1),
        ("disk_usage_mb", "many"),
        ("disk_usage_mb", "9" * 5000),
        ("disk_usage_mb", True),
        ("disk_usage_mb", 1e300),
        ("created_at", 1709827200),
        ("created_at", "yesterday"),
        ("created_at", "2026-06-30T23:59:60Z"),
        ("created_at", "0000-00-00 00:00:00"),
    ],
)
async def test_optional_field_when_unreadable_becomes_none(
    server: RawServer, connect: Connect, field: str, value: Any
) -> None:
    step = reply(json=[{**DOMAIN, field: value}, DOMAIN])
    server.script(step, step)
    odd, good = await connect().domains.list().collect()
    assert getattr(odd, field) is None
    assert odd.extra == {field: value}
    assert (odd.domain, good.extra) == ("example.com", {})
    assert getattr(good, field) is not None


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("id", 17, "17"),
        ("user_id", 17, "17"),
        ("php_version", 8.4, "8.4"),
        ("php_version", 8, "8"),
        ("disk_usage_mb", 12.0, 12),
        ("disk_usage_mb", "12", 12),
        ("disk_usage_mb", -1, -1),
        ("created_at", "0001-01-01T00:00:00Z", None),
        ("created_at", "0001-01-01T00:00:00+02:00", None),
        ("created_at", "", None),
        ("disk_usage_mb", "12.0", 12),
        ("disk_usage_mb", "-0.000", 0),
        ("created_at", "2026-03-07T12:00:00.123456789Z", datetime(2026, 3, 7, 12, 0, 0, 123456, UTC)),
        ("created_at", "2026-03-07 14:00:00+02:00", datetime(2026, 3, 7, 12, tzinfo=UTC)),
    ],
)
async def test_other_spellings_of_a_value_are_read(
    server: RawServer, connect: Connect, field: str, value: Any, read: Any
) -> None:
    domain = await fetch(server, connect, reply(json={**DOMAIN, field: value}))
    assert getattr(domain, field) == read
    assert type(getattr(domain, field)) is type(read)
    assert domain.extra == {}


@pytest.mark.parametrize(("size", "read"), [(12.6, 13), ("12.6", 13), ("12.5", 12), (-0.4, 0)])
async def test_size_with_a_fraction_is_rounded(
    server: RawServer, connect: Connect, size: float | str, read: int
) -> None:
    domain = await fetch(server, connect, reply(json={**DOMAIN, "disk_usage_mb": size}))
    assert (domain.disk_usage_mb, domain.extra) == (read, {"disk_usage_mb": size})


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-03-07T12:00:00", datetime(2026, 3, 7, 12, tzinfo=UTC)),
        ("2026-03-07 12:00:00", datetime(2026, 3, 7, 12, tzinfo=UTC)),
        ("2026-03-07", datetime(2026, 3, 7, tzinfo=UTC)),
    ],
)
async def test_time_without_a_zone_is_in_utc(server: RawServer, connect: Connect, text: str, read: datetime) -> None:
    domain = await fetch(server, connect, reply(json={**DOMAIN, "created_at": text}))
    assert (domain.created_at, domain.extra) == (read, {"created_at": text})


async def test_contract_name_of_a_field_beats_its_alias(server: RawServer, connect: Connect) -> None:
    domain = await fetch(server, connect, reply(json={**DOMAIN, "name": "other.example"}))
    assert (domain.domain, domain.extra) == ("example.com", {"name": "other.example"})
    domain = await fetch(server, connect, reply(json={**DOMAIN, "domain": None, "name": "other.example"}))
    assert domain.domain == "other.example"
    step = reply(json={**DOMAIN, "name": "other.example", "disk_usage_mb": "many"})
    assert (await fetch(server, connect, step)).domain == "example.com"


async def test_nested_objects_are_read_by_the_same_rules(server: RawServer, connect: Connect) -> None:
    async def status(panel: PanelicaClient) -> Any:
        return await panel.server.status()

    step = reply(
        json={"cpu": {"cores": "many", "usage_percent": "12.5", "load": 1}, "disk": "full", "load_average": [1, None]}
    )
    found = await fetch(server, connect, step, status)
    assert (found.cpu.cores, found.cpu.usage_percent, found.cpu.extra) == (None, 12.5, {"cores": "many", "load": 1})
    assert (found.disk, found.load_average) == (None, None)
    assert found.extra == {"disk": "full", "load_average": [1, None]}


async def test_missing_field_is_named(server: RawServer, connect: Connect) -> None:
    error = await decode_error(server, connect, reply(json={"id": "d1", "user_id": "u1"}))
    assert (error.message, error.json_path) == ("required field 'domain' is missing", "$.domain")


async def test_row_that_does_not_fit_is_named(server: RawServer, connect: Connect) -> None:
    step = reply(json={"status": "success", "data": [DOMAIN, {**DOMAIN, "id": [1]}]})
    error = await decode_error(server, connect, step, lambda panel: panel.domains.list().collect())
    assert error.json_path == "$[1].id"
    assert error.endpoint == "GET /v1/domains"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"hosts": []}, "an object with hosts"),
        ("text", "str"),
        (7, "int"),
        ({"status": "success", "data": {"warnings": []}}, "an object with warnings"),
    ],
)
async def test_list_that_is_no_list_raises(server: RawServer, connect: Connect, data: Any, found: str) -> None:
    error = await decode_error(server, connect, reply(json=data), lambda panel: panel.domains.list().collect())
    assert error.message == f"expected a list, found {found}"


@pytest.mark.parametrize("name", ["domains", "items"])
async def test_list_under_another_name_keeps_its_total(server: RawServer, connect: Connect, name: str) -> None:
    step = reply(json={"status": "success", "data": {name: [DOMAIN], "total": 2, "limit": 1}})
    page = await fetch(server, connect, step, lambda panel: panel.domains.list())
    assert (len(page.items), page.total, page.limit) == (1, 2, 1)


async def test_object_under_the_name_of_its_kind_is_read(server: RawServer, connect: Connect) -> None:
    domain = await fetch(server, connect, reply(json={"status": "success", "data": {"domain": DOMAIN}}))
    assert domain.id == "d1"


async def test_object_nested_in_another_is_not_mistaken_for_it(server: RawServer, connect: Connect) -> None:
    body = {"domain": "example.com", "user": {"id": "u1"}}
    error = await decode_error(server, connect, reply(json={"status": "success", "data": body}))
    assert error.json_path == "$.id"


@pytest.mark.parametrize("row", [None, "d1", ["d1"], 5])
async def test_row_that_is_no_object_raises(server: RawServer, connect: Connect, row: Any) -> None:
    error = await decode_error(server, connect, reply(json=[row]), lambda panel: panel.domains.list().collect())
    assert error.json_path == "$[0]"
    assert error.message.startswith("expected object, got")


@pytest.mark.parametrize("data", [[DOMAIN], "text", 5, True])
async def test_object_that_is_no_object_raises(server: RawServer, connect: Connect, data: Any) -> None:
    error = await decode_error(server, connect, reply(json=data))
    assert error.message.startswith("expected object, got")


@pytest.mark.parametrize("step", [reply(204), reply(200), reply(200, body="null"), reply(json={"status": "success"})])
async def test_empty_reply_where_an_object_is_due_raises(server: RawServer, connect: Connect, step: Step) -> None:
    error = await decode_error(server, connect, step)
    assert error.message.startswith("required field")


@pytest.mark.parametrize("cut", [1, 20, -1])
async def test_truncated_json_raises(server: RawServer, connect: Connect, cut: int) -> None:
    whole = b'{"id": "d1", "domain": "example.com", "user_id": "u1"}'
    error = await decode_error(server, connect, reply(body=whole[:cut]))
    assert error.message.startswith("the reply is not valid JSON near character ")
    assert (error.endpoint, error.json_path) == ("GET /v1/domains/d1", "$")
    assert error.hint is None


async def test_web_page_with_200_hints_at_base_url(server: RawServer, connect: Connect) -> None:
    page = "<!doctype html>\n<html><head><title>Panel</title></head></html>"
    error = await decode_error(server, connect, reply(body=page, content_type="text/html"))
    assert "the reply is not valid JSON" in error.message
    assert error.hint is not None
    assert "Check base_url" in error.hint
    assert error.body.startswith("<!doctype html> <html>")


async def test_quoted_reply_is_short_and_without_secrets(server: RawServer, connect: Connect) -> None:
    step = reply(json={"api_secret": "sk_live_hush", "padding": "x" * 10_000})
    error = await decode_error(server, connect, step)
    assert len(error.body) <= 200
    assert "sk_live_hush" not in str(error)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"status": "error", "error": "Domain not found", "code": "NOT_FOUND"}, ResponseError),
        ({"status": "error", "message": "plan has accounts"}, ResponseError),
        ({"status": "error"}, ResponseError),
        ({"status": "error", "data": None, "error": {"code": "X", "message": "no"}}, ResponseError),
    ],
)
async def test_error_with_200_raises(server: RawServer, connect: Connect, body: Any, kind: type[ResponseError]) -> None:
    with pytest.raises(kind) as caught:
        await fetch(server, connect, reply(json=body))
    assert caught.value.status == 200
    with pytest.raises(kind):
        await fetch(server, connect, reply(json=body), lambda panel: panel.domains.delete("d1"))


@pytest.mark.parametrize("step", [reply(204), reply(200), reply(json={"status": "success"}), reply(json=[])])
async def test_call_that_returns_nothing_accepts_any_success(server: RawServer, connect: Connect, step: Step) -> None:
    assert await fetch(server, connect, step, lambda panel: panel.domains.delete("d1")) is None


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (reply(204), None),
        (reply(json={"message": "Domain suspended"}), "Domain suspended"),
        (reply(json={"status": "success", "message": "Domain suspended"}), "Domain suspended"),
        (reply(json={"status": "success", "data": {"message": "Domain suspended"}}), "Domain suspended"),
        (reply(json={"status": "success"}), None),
    ],
)
async def test_action_accepts_a_message_or_an_empty_reply(
    server: RawServer, connect: Connect, step: Step, message: str | None
) -> None:
    done = await fetch(server, connect, step, lambda panel: panel.domains.suspend("d1"))
    assert done.message == message


@pytest.mark.parametrize("data", [[], "text", 5])
async def test_free_form_json_is_an_object(server: RawServer, connect: Connect, data: Any) -> None:
    async def collection(panel: PanelicaClient) -> Any:
        return await panel.postman_collection()

    assert await fetch(server, connect, reply(json={"info": {"a": None}}), collection) == {"info": {"a": None}}
    await decode_error(server, connect, reply(json=data), collection)


async def test_body_has_null_but_not_unset_fields(server: RawServer, connect: Connect) -> None:
    panel = connect()
    server.script(*[reply(json=DOMAIN)] * 3)
    owner = UUID("2a1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d")
    await panel.domains.create(domain="example.com", user_id=owner, php_version=None)  # type: ignore[arg-type]
    await panel.domains.create(domain="example.com", user_id="u1", php_version=UNSET)
    assert [sent.body for sent in server.requests] == [
        b'{"domain":"example.com","user_id":"2a1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d","php_version":null}',
        b'{"domain":"example.com","user_id":"u1"}',
    ]


async def test_model_is_sent_as_it_was_received(server: RawServer, connect: Connect) -> None:
    destination = panelica_async.models.HttpDestination(url="https://example.com/hook", extra={"secret": "s"})
    server.script(reply(json={"id": "w1", "name": "hook"}))
    await connect().webhooks.create(
        name="hook", destination_type="http", destination_config=destination, events=("domain.created",)
    )
    assert b'"destination_config":{"url":"https://example.com/hook","secret":"s"}' in server.requests[0].body


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"a": UNSET}, "UNSET"),
        ({"at": datetime(2026, 3, 7)}, "time zone"),  # noqa: DTZ001 - the mistake
        ({"a": float("nan")}, "nan"),
        ({"a": {1, 2}}, "set"),
        ({"a": b"x"}, "bytes"),
        ({1: "a"}, "key"),
    ],
)
async def test_value_that_json_lacks_is_refused(server: RawServer, connect: Connect, value: Any, reason: str) -> None:
    with pytest.raises((ValueError, TypeError), match=reason):
        await connect().request("POST", "/v1/x", json=value)
    assert server.requests == []


def models() -> list[type[Model]]:
    found = [getattr(panelica_async.models, name) for name in panelica_async.models.__all__]
    return [model for model in found if issubclass(model, Model)]


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_models_are_frozen_slotted_and_documented(model: type[Model]) -> None:
    assert model.__doc__
    assert "__dict__" not in dir(model)
    for field in attrs.fields(model):
        assert field.kw_only
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        model.__new__(model).extra = {}  # type: ignore[misc]


def test_repr_of_a_model_hides_its_secrets() -> None:
    created = panelica_async.models.CreatedApiKey(
        id="k1", name="key", api_key="pk_live_shown", api_secret="sk_live_hush"
    )
    assert "sk_live_hush" not in repr(created)
    telegram = panelica_async.models.TelegramDestination(bot_token="hush", chat_id="1")
    assert "hush" not in repr(telegram)


def enums() -> list[type[OpenEnum]]:
    found = [getattr(panelica_async.models, name) for name in panelica_async.models.__all__]
    return [kind for kind in found if issubclass(kind, OpenEnum)]


@pytest.mark.parametrize("kind", enums(), ids=lambda kind: kind.__name__)
def test_enums_are_read_in_any_case(kind: type[OpenEnum]) -> None:
    for known in kind:
        for text in (known.value.upper(), known.value.lower(), known.value.title()):
            assert kind(text) is known


@pytest.mark.parametrize("kind", enums(), ids=lambda kind: kind.__name__)
def test_unknown_enum_value_becomes_a_member(kind: type[OpenEnum]) -> None:
    new = kind("brand-new")
    assert (new, new.value, new.name) == ("brand-new", "brand-new", "brand-new")
    assert new == kind("brand-new")
    assert hash(new) == hash(kind("brand-new"))
    assert new not in list(kind)
    for member in (new, *kind):
        assert pickle.loads(pickle.dumps(member)) == member
        assert type(pickle.loads(pickle.dumps(member))) is kind
    assert pickle.loads(pickle.dumps(next(iter(kind)))) is next(iter(kind))
    with pytest.raises(ValueError, match="5 is not a valid"):
        kind(5)


async def test_models_and_errors_survive_a_pickle(server: RawServer, connect: Connect) -> None:
    domain = await fetch(server, connect, reply(json={**DOMAIN, "shiny": 1, "status": "parked"}))
    copy = pickle.loads(pickle.dumps(domain))
    assert copy == domain
    assert copy.extra == {"shiny": 1}
    assert isinstance(copy.status, DomainStatus)

    errors: list[PanelicaError] = [await decode_error(server, connect, reply(body="{"))]
    for step in (
        reply(400, json={"error": "bad", "code": "BAD_REQUEST", "details": {"field": "domain"}}),
        reply(404, json={"error": "no", "code": "NOT_FOUND"}, headers={"X-Request-Id": "req_1"}),
        reply(
            429, json={"error": {"code": "RATE_LIMIT_EXCEEDED", "retry_after": 100, "limit": 60, "window": "minute"}}
        ),
    ):
        with pytest.raises(ResponseError) as caught:
            await fetch(server, connect, step)
        errors.append(caught.value)
    kinds = [DecodeError, BadRequestError, NotFoundError, RateLimitedError]
    for error, kind in zip(errors, kinds, strict=True):
        copied = pickle.loads(pickle.dumps(error))
        assert type(copied) is type(error) is kind
        assert vars(copied) == vars(error)
        assert str(copied) == str(error)


async def test_empty_id_and_unknown_role_are_read(server: RawServer, connect: Connect) -> None:
    step = reply(json={"id": "", "username": "root", "email": "root@example.com", "role": "Root"})
    account: Account = await fetch(server, connect, step, lambda panel: panel.accounts.get("a1"))
    assert (account.id, account.role) == ("", "ROOT")
