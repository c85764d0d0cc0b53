"""The error tree: its shape, its texts, and lossless pickling and copying."""

import copy
import pickle
from datetime import UTC, datetime

import pytest

import panelica_async
from panelica_async import errors
from panelica_async.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    ConnectError,
    DecodeError,
    MissingScopeError,
    NotFoundError,
    OutcomeUnknownError,
    PanelicaError,
    PartialWriteError,
    PermissionDeniedError,
    RateLimitedError,
    RateLimitWaitError,
    RequestTimeoutError,
    ResponseError,
    ServerError,
    TransportError,
    UnsupportedOperationError,
)

NAMES = {name for name in panelica_async.__all__ if name.endswith("Error")}
SENT_AT = datetime(2026, 3, 7, 12, 0, tzinfo=UTC)
RESPONSE = {
    "status": 400,
    "code": "BAD_REQUEST",
    "details": {"field": ["name"]},
    "request_id": "req_1",
    "method": "POST",
    "path": "/v1/domains",
    "attempts": 3,
    "hint": "Correct it.",
}
SAMPLES = [
    PanelicaError("failed", hint="Do this."),
    ConfigurationError("api_key is missing", hint="Set it."),
    TransportError("no reply", method="GET", path="/v1/domains", attempts=2, hint="Wait."),
    ConnectError("refused", method="GET", path="/v1/domains"),
    RequestTimeoutError("no reply in 30 s", method="POST", path="/v1/domains", attempts=4),
    OutcomeUnknownError(
        "the connection broke",
        operation="domains.create",
        method="POST",
        path="/v1/domains",
        sent_at=SENT_AT,
        attempts=2,
        hint="Look first.",
    ),
    PartialWriteError(
        "made p1, but its limits failed",
        operation="plans.create",
        id="p1",
        made={"id": "p1"},
        missing={"max_domains": 0},
        hint="Change it.",
    ),
    RateLimitWaitError("would wait 120 s", wait=120.0, limit=60.0),
    DecodeError("expected a list", endpoint="GET /v1/domains", json_path="$.data", body=b'{"data": 1}'),
    UnsupportedOperationError("not on this panel", operation="webhooks.events"),
    ResponseError("moved", **{**RESPONSE, "status": 302}),
    BadRequestError("bad", **RESPONSE),
    AuthenticationError("wrong", **{**RESPONSE, "status": 401}),
    PermissionDeniedError("no", **{**RESPONSE, "status": 403}),
    MissingScopeError(
        "no", required_scope="domains:write", available_scopes=["domains:read"], **{**RESPONSE, "status": 403}
    ),
    NotFoundError("gone", **{**RESPONSE, "status": 404}),
    ConflictError("exists", **{**RESPONSE, "status": 409}),
    RateLimitedError("slow down", retry_after=42.0, limit=60, window="minute", **{**RESPONSE, "status": 429}),
    ServerError("broken", **{**RESPONSE, "status": 500}),
]


def by_name(error):
    return type(error).__name__


def test_every_class_has_a_sample_and_is_exported():
    classes = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, PanelicaError)}
    assert {type(sample) for sample in SAMPLES} == classes
    assert {cls.__name__ for cls in classes} == NAMES


def test_tree_in_the_docstring_names_every_class():
    for name in NAMES:
        assert name in errors.__doc__


def test_star_import_brings_the_errors_alone():
    assert set(errors.__all__) == NAMES


def test_classes_form_the_documented_tree():
    for cls in (
        BadRequestError,
        AuthenticationError,
        PermissionDeniedError,
        NotFoundError,
        ConflictError,
        RateLimitedError,
        ServerError,
    ):
        assert cls.__bases__ == (ResponseError,)
    assert MissingScopeError.__bases__ == (PermissionDeniedError,)
    assert ConnectError.__bases__ == (TransportError,)
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(RequestTimeoutError, TimeoutError)
    assert issubclass(RequestTimeoutError, TransportError)
    assert not issubclass(OutcomeUnknownError, TransportError)


@pytest.mark.parametrize("error", SAMPLES, ids=by_name)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_keeps_everything(error, protocol):
    assert_same(pickle.loads(pickle.dumps(error, protocol)), error)


@pytest.mark.parametrize("error", SAMPLES, ids=by_name)
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_copies_keep_everything(error, duplicate):
    assert_same(duplicate(error), error)


def test_notes_survive_a_pickle():
    error = NotFoundError("gone", status=404)
    error.add_note("row 7")
    assert pickle.loads(pickle.dumps(error)).__notes__ == ["row 7"]


def test_deep_copy_shares_nothing():
    error = BadRequestError("bad", **RESPONSE)
    assert copy.deepcopy(error).details is not error.details


def assert_same(other, error):
    assert other is not error
    assert type(other) is type(error)
    assert other.args == error.args
    assert vars(other) == vars(error)
    assert str(other) == str(error)


def test_text_of_a_response_error_has_every_fact():
    error = ConflictError(
        "domain exists",
        status=409,
        code="CONFLICT",
        details="example.com",
        request_id="req_1",
        method="POST",
        path="/v1/domains",
        attempts=2,
        hint="Choose another name.",
    )
    assert str(error) == (
        "POST /v1/domains: 409 CONFLICT: domain exists (example.com, request id req_1, 2 attempts). "
        "Hint: Choose another name."
    )


def test_text_of_an_error_without_facts_is_short():
    assert str(NotFoundError("gone", status=404)) == "404: gone"
    assert str(PanelicaError("failed")) == "failed"


def test_details_that_the_code_repeats_are_shown_once():
    error = BadRequestError("taken", status=400, code="apiErrors.users.taken", details="apiErrors.users.taken")
    assert str(error) == "400 apiErrors.users.taken: taken"


@pytest.mark.parametrize(("code", "details"), [(None, "No"), ("apiErrors.users.taken", "users")])
def test_details_that_are_part_of_the_code_are_shown(code: str | None, details: str) -> None:
    assert f"({details})" in str(BadRequestError("taken", status=400, code=code, details=details))


def test_details_that_the_message_repeats_are_shown_once():
    error = BadRequestError("mailbox limit reached", status=400, details="mailbox limit reached")
    assert str(error) == "400: mailbox limit reached"


def test_text_of_other_errors_has_their_facts():
    assert str(RequestTimeoutError("no reply in 30 s", method="GET", path="/v1/me", attempts=3)) == (
        "GET /v1/me: no reply in 30 s (3 attempts)"
    )
    unknown = OutcomeUnknownError(
        "the connection broke", operation="domains.create", method="POST", path="/v1/domains", sent_at=SENT_AT
    )
    assert str(unknown) == "POST /v1/domains: the connection broke (sent at 2026-03-07T12:00:00+00:00)"
    assert str(DecodeError("expected int", endpoint="GET /v1/me", json_path="$.id", body='{"id": "x"}')) == (
        'GET /v1/me: expected int at $.id: {"id": "x"}'
    )


def test_long_texts_are_cut():
    assert len(DecodeError("no", endpoint="GET /v1/me", body=b"x" * 10_000).body) == 200
    assert len(str(BadRequestError("x" * 10_000, status=400, details="y" * 10_000))) < 800
    assert BadRequestError("x" * 10_000, status=400).message == "x" * 10_000


def test_text_stays_on_one_line():
    error = ServerError("first\nsecond\x1b[31m", status=500, details="a\r\nb")
    assert str(error) == "500: first second [31m (a b)"


def test_body_of_a_decode_error_holds_no_secrets():
    error = DecodeError(
        "no", endpoint="POST /v1/api-keys", body=b'{"api_secret": "sk_live_x9y8z7w6", "password": "hunter2"}'
    )
    assert "x9y8" not in repr(vars(error)) + str(error)
    assert "hunter2" not in repr(vars(error)) + str(error)


def test_scopes_become_a_tuple():
    assert MissingScopeError("no", status=403, available_scopes=["a:read"]).available_scopes == ("a:read",)


@pytest.mark.parametrize(
    ("details", "shown"),
    [
        ({"field": "domain", "password": "hush"}, '{"field": "domain", "password": [redacted]}'),
        ([{"field": "domain"}, "taken"], '[{"field": "domain"}, "taken"]'),
        ("taken already", "taken already"),
        ({}, None),
        (None, None),
    ],
)
def test_details_are_part_of_the_text(details, shown):
    text = str(BadRequestError("no", status=400, details=details))
    assert text == ("400: no" if shown is None else f"400: no ({shown})")


def test_long_details_are_cut():
    text = str(BadRequestError("no", status=400, details={"fields": ["name"] * 1000}))
    assert len(text) < 250
