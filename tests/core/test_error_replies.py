"""Error replies: every shape seen on panels, and worse ones, with the errors they become."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from panelica_async.catalog import ERROR_CODES
from panelica_async.core import hints
from panelica_async.core.error_replies import read_report
from panelica_async.core.sanitizing import Sanitizer
from panelica_async.errors import (
    AuthenticationError,
    BadRequestError,
    ConflictError,
    MissingScopeError,
    NotFoundError,
    PanelicaError,
    PermissionDeniedError,
    RateLimitedError,
    ResponseError,
    ServerError,
)

JSON = {"Content-Type": "application/json"}
NOW = 1_772_884_800.0  # 2026-03-07T12:00:00Z
GERMAN = '{"error": "ungültig"}'
DATE = "Sat, 07 Mar 2026 12:00:00 GMT"


def make(status, body, headers=JSON, now=NOW):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_report(status, headers, data, now=now).error(method="POST", path="/v1/domains", attempts=2)


VALIDATION = (
    "Key: 'CreateDomainRequest.UserID' Error:Field validation for 'UserID' failed on the 'required' tag\n"
    "Key: 'CreateDomainRequest.Name' Error:Field validation for 'Name' failed on the 'min' tag"
)
RATE_LIMIT = {
    "code": "RATE_LIMIT_EXCEEDED",
    "message": "Rate limit exceeded for this API key (minute window)",
    "limit": 60,
    "retry_after": 60,
    "window": "minute",
}

# Rows of the table (evidence: error-shapes): number, status, body, class, message, code, request id, part of the hint.
ROWS = [
    (
        1,
        404,
        {"status": "error", "error": "Plan not found", "details": "id=plan-9", "code": "NOT_FOUND"},
        NotFoundError,
        "Plan not found",
        "NOT_FOUND",
        None,
        "update the panel",
    ),
    (
        2,
        400,
        {
            "status": "error",
            "error": "apiErrors.external.email.createFailed",
            "details": "email address already exists",
        },
        BadRequestError,
        "email address already exists",
        "apiErrors.external.email.createFailed",
        None,
        "List what exists",
    ),
    (
        3,
        400,
        {"status": "error", "error": "Failed to create", "details": "apiErrors.users.emailAlreadyExists"},
        BadRequestError,
        "Failed to create: email already exists",
        "apiErrors.users.emailAlreadyExists",
        None,
        "List what exists",
    ),
    (
        4,
        400,
        {
            "status": "error",
            "error": "apiErrors.external.account.createFailed",
            "details": "apiErrors.users.emailAlreadyExists",
        },
        BadRequestError,
        "account create failed: email already exists",
        "apiErrors.users.emailAlreadyExists",
        None,
        "List what exists",
    ),
    (
        5,
        400,
        {"status": "error", "error": "Failed to create", "details": "This email address is already in use"},
        BadRequestError,
        "Failed to create",
        None,
        None,
        "List what exists",
    ),
    (
        6,
        403,
        {
            "status": "error",
            "error": {
                "code": "apiErrors.external.insufficientScope",
                "message": "Insufficient scope",
                "required_scope": "domains:write",
                "available_scopes": ["domains:read", "accounts:read"],
                "details": "POST /v1/domains",
            },
            "request_id": "req_6",
        },
        MissingScopeError,
        "Insufficient scope",
        "apiErrors.external.insufficientScope",
        "req_6",
        "Add the scope domains:write",
    ),
    (
        7,
        429,
        {"status": "error", "error": RATE_LIMIT},
        RateLimitedError,
        "Rate limit exceeded for this API key (minute window)",
        "RATE_LIMIT_EXCEEDED",
        None,
        "Wait",
    ),
    (
        8,
        401,
        {"status": "error", "error": {"code": "INVALID_SIGNATURE", "message": "Invalid signature"}},
        AuthenticationError,
        "Invalid signature",
        "INVALID_SIGNATURE",
        None,
        "API secret",
    ),
    (
        9,
        400,
        {"status": "error", "message": "apiErrors.docker.containerNotRunning"},
        BadRequestError,
        "container not running",
        "apiErrors.docker.containerNotRunning",
        None,
        "Correct",
    ),
    (
        10,
        409,
        {"status": "error", "message": "plan has accounts"},
        ConflictError,
        "plan has accounts",
        None,
        None,
        "List what exists",
    ),
    (
        11,
        400,
        {"status": "error", "error": VALIDATION},
        BadRequestError,
        VALIDATION,
        None,
        None,
        "Correct user_id (required), name (min).",
    ),
    (
        12,
        403,
        {"status": "error", "details": "mailbox limit reached"},
        PermissionDeniedError,
        "mailbox limit reached",
        None,
        None,
        "limits of the plan",
    ),
    (13, 503, {"status": "error"}, ServerError, "Service Unavailable", None, None, "start it"),
    (14, 404, {"error": "not found"}, NotFoundError, "not found", None, None, "update the panel"),
    (
        15,
        502,
        b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><center>nginx</center></body></html>",
        ServerError,
        "502 Bad Gateway, a web page instead of JSON",
        None,
        None,
        "restarting",
    ),
    (
        16,
        422,
        {"status": "error", "error": "Weak password", "details": {"min_length": 8, "password": "hunter2"}},
        BadRequestError,
        "Weak password",
        None,
        None,
        "weak password",
    ),
    (
        17,
        500,
        {
            "status": "error",
            "error": "Internal error",
            "code": "INTERNAL_ERROR",
            "details": "ERROR: column does not exist (SQLSTATE 42703)",
            "request_id": "req_17",
        },
        ServerError,
        "Internal error",
        "INTERNAL_ERROR",
        "req_17",
        "request id",
    ),
]


@pytest.mark.parametrize(
    ("status", "body", "kind", "message", "code", "request_id", "hint"),
    [pytest.param(*row[1:], id=f"row {row[0]}") for row in ROWS],
)
def test_known_shape_becomes_its_error(status, body, kind, message, code, request_id, hint):
    error = make(status, body)
    assert type(error) is kind
    assert error.message == message
    assert error.code == code
    assert error.request_id == request_id
    assert hint in error.hint
    assert (error.status, error.method, error.path, error.attempts) == (status, "POST", "/v1/domains", 2)
    assert message.split("\n")[0] in str(error)


def test_every_known_shape_has_a_row():
    assert [row[0] for row in ROWS] == list(range(1, 18))


def row(number):
    return make(*ROWS[number - 1][1:3])


def test_details_of_known_shapes_are_read():
    assert row(1).details == "id=plan-9"
    assert str(row(5)) == (
        "POST /v1/domains: 400: Failed to create (This email address is already in use, 2 attempts). "
        f"Hint: {hints.ALREADY_EXISTS}"
    )
    assert row(6).required_scope == "domains:write"
    assert row(6).available_scopes == ("domains:read", "accounts:read")
    assert row(6).details == "POST /v1/domains"
    assert (row(7).retry_after, row(7).limit, row(7).window) == (60.0, 60, "minute")
    assert row(13).details is None
    assert row(15).details.startswith("<html>")
    assert row(16).details == {"min_length": 8, "password": "[redacted]"}
    assert "SQLSTATE 42703" in row(17).details


def test_shape_of_the_reference_is_read():
    error = make(400, {"error": "Error message", "code": "ERROR_CODE", "details": "Additional context"})
    assert (error.message, error.code, error.details) == ("Error message", "ERROR_CODE", "Additional context")


@pytest.mark.parametrize("code", ERROR_CODES)
@pytest.mark.parametrize("nested", [False, True])
def test_every_known_code_has_its_class_and_hint(code, nested):
    entry = ERROR_CODES[code]
    report = {"code": code, "message": "No"}
    error = make(entry.status, {"error": report} if nested else report)
    assert error.code == code
    assert error.hint == entry.hint
    assert type(error) is not ResponseError


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (405, ResponseError),
        (409, ConflictError),
        (413, ResponseError),
        (418, ResponseError),
        (422, BadRequestError),
        (429, RateLimitedError),
        (500, ServerError),
        (502, ServerError),
        (503, ServerError),
        (504, ServerError),
        (599, ServerError),
        (499, ResponseError),
    ],
)
@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[]", b"7", b'"  "', b'{"error": []}', b'{"error": null}'])
def test_empty_body_raises_by_its_status(status, kind, body):
    error = make(status, body)
    assert type(error) is kind
    assert error.message
    assert error.code is None
    assert error.hint == hints.STATUSES.get(status)


@pytest.mark.parametrize(
    ("body", "headers", "message", "details"),
    [
        # cut off in the middle
        (
            b'{"status":"error","error":"Plan not fo',
            JSON,
            "Bad Request, with broken JSON",
            '{"status":"error","error":"Plan not fo',
        ),
        (b'{"api_secret":"sk_live_x9y8', JSON, "Bad Request, with broken JSON", '{"api_secret":[redacted]'),
        (b"[" * 5000, JSON, "Bad Request, with broken JSON", "[" * 199 + "…"),
        # no JSON at all
        (b"", {}, "Bad Request, with an empty reply", None),
        (b" \r\n", {}, "Bad Request, with an empty reply", None),
        (b"404 page not found", {"Content-Type": "text/plain"}, "404 page not found", None),
        (b"<h1>nope</h1>", {}, "Bad Request, a web page instead of JSON", "<h1>nope</h1>"),
        (
            b"<TITLE lang='en'>\n No way </TITLE>",
            {},
            "No way, a web page instead of JSON",
            "<TITLE lang='en'> No way </TITLE>",
        ),
        # JSON of other types
        (b'"just text"', JSON, "just text", None),
        (b"[1, 2]", JSON, "Bad Request", [1, 2]),
        (
            b'{"error": 7, "message": [1], "code": 12}',
            JSON,
            "Bad Request",
            {"error": 7, "message": [1], "code": 12},
        ),
        (b'{"error": {"message": {"a": 1}}}', JSON, "Bad Request", {"error": {"message": {"a": 1}}}),
        (
            b'{"reason": "unknown shape", "token": "x"}',
            JSON,
            "Bad Request",
            {"reason": "unknown shape", "token": "[redacted]"},
        ),
        (b'{"error": "  ", "message": "said here"}', JSON, "said here", None),
        # other character sets
        (GERMAN.encode("latin-1"), {"content-type": "application/json; charset=ISO-8859-1"}, "ungültig", None),
        (GERMAN.encode("utf-16"), {"CONTENT-TYPE": 'application/json; charset="utf-16"'}, "ungültig", None),
        (GERMAN.encode("latin-1"), JSON, "ung\ufffdltig", None),
        (GERMAN.encode("latin-1"), {"Content-Type": "text/x; charset=klingon"}, "ung\ufffdltig", None),
        (GERMAN.encode("latin-1"), {"Content-Type": "text/x; charset=iso-8859-99"}, "ung\ufffdltig", None),
        (GERMAN.encode("utf-8-sig"), JSON, "ungültig", None),
        # untranslated keys in other places
        (b'{"error": {"message": "apiErrors.external.domain.notFound"}}', JSON, "domain not found", None),
        (b'{"error": "Errors.notAllowed"}', JSON, "not allowed", None),
        (b'{"error": "apiErrors.docker.cannotReachHTTPServer"}', JSON, "cannot reach http server", None),
        (b'{"message": "apiErrors.x.y", "error": "See example.com"}', JSON, "See example.com: y", None),
        (b'{"error": "www.example.com"}', JSON, "www.example.com", None),
        # as other frameworks write them
        (b'{"error": "Bad Request", "message": "taken"}', JSON, "taken", None),
        (b'{"error": "bad request"}', JSON, "bad request", None),
        (b'{"error": "invalid", "error_description": "too long"}', JSON, "invalid: too long", None),
        (b'{"title": "Taken.", "detail": "No.", "status": 400}', JSON, "Taken: No.", None),
        (b'{"error": {"code": "X", "description": "taken"}}', JSON, "taken", None),
        (b'{"error": true, "msg": "taken"}', JSON, "taken", None),
        (b'{"error": "Bad Request", "message": ["a is taken", 7, "b is short"]}', JSON, "a is taken; b is short", None),
        (b'{"message": "Invalid.", "errors": {"domain": ["taken"]}}', JSON, "Invalid.", {"domain": ["taken"]}),
        (b'{"errors": [{"title": "Invalid"}]}', JSON, "Bad Request", [{"title": "Invalid"}]),
        (b'{"status": "fail", "data": {"domain": "taken"}}', JSON, "Bad Request", {"domain": "taken"}),
        (b'{"error": "a", "message": "b", "details": "c"}', JSON, "a: b", "c"),
        # character sets of proxies
        ("域名".encode("gbk"), {"Content-Type": "text/plain; charset=GBK"}, "域名", None),
        ("ドメイン".encode("shift_jis"), {"Content-Type": "text/html; charset=Shift_JIS"}, "ドメイン", None),
        ("Домен".encode("koi8-r"), {"Content-Type": "text/plain; charset=koi8-r"}, "Домен", None),
        # a secret in the sentence
        (
            b'{"error": "no: https://panel.example.com/auto-login?token=abc"}',
            JSON,
            "no: https://panel.example.com/auto-login?token=[redacted]",
            None,
        ),
    ],
)
def test_message_and_details_of_unknown_shapes_are_read(body, headers, message, details):
    error = make(400, body, headers)
    assert error.message == message
    assert error.details == details


@pytest.mark.parametrize("status", [408, 413, 425, 429])
def test_page_of_a_server_in_front_does_not_blame_the_address(status: int) -> None:
    assert make(status, b"<html><title>Too many</title></html>").hint != hints.WEB_PAGE


@pytest.mark.parametrize("status", [521, 523, 525, 530])
def test_cloudflare_status_says_that_it_did_not_reach_the_panel(status: int) -> None:
    error = make(status, b"")
    assert "unknown" not in error.message
    assert "Cloudflare" in error.hint


def test_web_page_points_to_the_address():
    assert make(404, b"<html><title>404 Not Found</title></html>").hint == hints.WEB_PAGE


@pytest.mark.parametrize(
    ("status", "body", "from_panel"),
    [
        (404, b'{"error": "Domain not found"}', True),
        (409, b'{"error": {"code": "CONFLICT"}}', True),
        (400, b'"weak password"', True),
        (400, b"[]", True),
        (404, b"<html><title>404 Not Found</title></html>", False),
        (403, b"Forbidden", False),
        (404, b"", False),
        (409, b'{"error": "Dom', False),
        (302, b'{"error": "moved"}', False),
    ],
)
def test_only_json_is_from_the_panel(status: int, body: bytes, from_panel: bool) -> None:
    assert make(status, body).from_panel is from_panel


def test_inner_code_beats_the_outer_one():
    nested = {"code": "OUTER", "error": {"code": "INNER", "message": "No"}}
    assert make(400, nested).code == "INNER"
    assert make(400, {"code": "GIVEN", "error": "apiErrors.a.b"}).code == "GIVEN"


@pytest.mark.parametrize(
    ("body", "headers", "request_id"),
    [
        ({"request_id": "req_1"}, {"X-Request-Id": "req_2"}, "req_1"),
        ({"error": {"request_id": "req_1"}}, {}, "req_1"),
        ({"error": "no"}, {"x-request-id": "req_2"}, "req_2"),
        ({"request_id": 7}, CIMultiDictProxy(CIMultiDict({"X-REQUEST-ID": "req_2"})), "req_2"),
        (b"<html>", {"X-Request-ID": "req_2"}, "req_2"),
        ({}, {}, None),
    ],
)
def test_request_id_is_read_from_header_or_body(body, headers, request_id):
    assert make(500, body, headers).request_id == request_id


@pytest.mark.parametrize(
    ("report", "required", "available"),
    [
        ({"required_scope": "domains:write"}, "domains:write", ()),
        ({"required_scope": ["services:restart", "server:write"]}, "services:restart or server:write", ()),
        ({"required_scope": "a:b", "available_scopes": "c:read, d:read e:read"}, "a:b", ("c:read", "d:read", "e:read")),
        ({"required_scope": "a:b", "available_scopes": ["c:read", 7, None]}, "a:b", ("c:read",)),
        ({"required_scope": "a:b", "available_scopes": {"c": 1}}, "a:b", ()),
        ({"code": "INSUFFICIENT_SCOPE"}, None, ()),
        ({"code": "apiErrors.external.insufficientScopeForMethod"}, None, ()),
        ({"message": "apiErrors.external.insufficientScope"}, None, ()),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_missing_scope_and_available_ones_are_read(report, required, available, nested):
    error = make(403, {"status": "error", "error": report} if nested else report)
    assert type(error) is MissingScopeError
    assert error.required_scope == required
    assert error.available_scopes == available
    assert error.hint == (
        f"Add the scope {required} to the API key in the panel, or use a key that has it."
        if required
        else hints.for_response(403, error.code)
    )


def test_scope_counts_only_for_403():
    assert type(make(401, {"required_scope": "a:b"})) is AuthenticationError


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_named_without_its_secrets(status):
    error = make(status, b"<html>moved</html>", {"location": "https://panel.example.com/login?token=abc"})
    assert type(error) is ResponseError
    assert error.message == (
        "redirects are not followed; this one points to https://panel.example.com/login?token=[redacted]"
    )
    assert error.hint == hints.REDIRECT
    assert make(status, b"", {}).message == "redirects are not followed"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"status": "error", "error": "no such user"}, "no such user"),
        ({"status": "error"}, "the panel reports an error without a reason"),
        ({"status": "error", "data": None, "error": {"message": "inner"}}, "inner"),
    ],
)
def test_200_that_reports_an_error_is_an_error(body, message):
    error = make(200, body)
    assert type(error) is ResponseError
    assert (error.status, error.message) == (200, message)


@pytest.mark.parametrize("code", ["INVALID_TIMESTAMP", "TIMESTAMP_EXPIRED"])
@pytest.mark.parametrize(
    ("ahead", "hint"),
    [
        (400, "Set the clock of this machine with NTP: it is 400 s ahead of that of the panel."),
        (-3600, "Set the clock of this machine with NTP: it is 3600 s behind that of the panel."),
        (20, "Set the clock"),
    ],
)
def test_hint_for_a_wrong_clock_says_how_far_it_is_off(code, ahead, hint):
    body = {"error": {"code": code, "message": "Invalid timestamp"}}
    assert hint in make(401, body, {**JSON, "Date": DATE}, now=NOW + ahead).hint
    assert "Set the clock" in make(401, body, JSON, now=NOW + ahead).hint


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (401, "INVALID_TIMESTAMP", True),
        (401, "TIMESTAMP_EXPIRED", True),
        (401, "MISSING_TIMESTAMP", False),
        (401, "INVALID_SIGNATURE", False),
        (400, "INVALID_TIMESTAMP", False),
        (403, "TIMESTAMP_EXPIRED", False),
    ],
)
def test_only_a_401_about_a_wrong_timestamp_blames_it(status, code, expected):
    body = json.dumps({"error": {"code": code, "message": "Request refused"}}).encode()
    report = read_report(status, {**JSON, "Date": DATE}, body, now=NOW + 3600)
    assert report.blames_timestamp is expected
    assert ("it is 3600 s ahead" in (report.hint or "")) is expected


def test_names_of_scopes_are_printable_and_without_secrets():
    body = {"required_scope": "a:\x1b[31mb", "available_scopes": ["dns:\nread", "hunter2-x9y8"]}
    report = read_report(403, JSON, json.dumps(body).encode(), Sanitizer(["hunter2-x9y8"]))
    assert report.required_scope == "a: [31mb"
    assert report.available_scopes == ("dns: read", "[redacted]")


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        # the first one counts
        ({"Retry-After": "7"}, {"retry_after": 42, "error": {"retry_after": 50}}, 42.0),
        ({"Retry-After": "7"}, {"error": {"retry_after": 42}}, 42.0),
        ({"Retry-After": "7"}, {"error": {"reset_at": "2026-03-07T12:01:00Z"}}, 60.0),
        ({"Retry-After": "7", "X-RateLimit-Reset-Minute": "1772884830"}, {"error": "slow down"}, 7.0),
        ({"X-RateLimit-Reset-Minute": "1772884830"}, {"error": "slow down"}, 30.0),
        ({}, {"error": "slow down"}, None),
        # forms of numbers and times
        ({}, {"retry_after": "42"}, 42.0),
        ({}, {"retry_after": 1.5}, 1.5),
        ({}, {"retry_after": 0}, 0.0),
        ({}, {"retry_after": -5}, 0.0),
        ({}, {"reset_at": 1_772_884_815}, 15.0),
        ({}, {"reset_at": "1772884815"}, 15.0),
        ({}, {"reset_at": "2026-03-07T14:00:10.5+02:00"}, 10.5),
        ({}, {"reset_at": "2026-03-07T12:00:10.123456789Z"}, 10.123456),
        ({}, {"reset_at": "2026-03-07T12:00:10"}, 10.0),
        ({}, {"reset_at": "2026-03-07T11:00:00Z"}, 0.0),
        ({"retry-after": "Sat, 07 Mar 2026 12:00:09 GMT"}, {}, 9.0),
        ({"Retry-After": "Sat, 07 Mar 2026 11:00:00 GMT"}, {}, 0.0),
        # durations as Go writes them
        ({}, {"retry_after": "30s"}, 30.0),
        ({}, {"retry_after": 30_000_000_000}, 30.0),
        ({"Retry-After": "7"}, {"error": {"retry_after": "1m30s"}}, 90.0),
        ({}, {"retry_after": " 1h0m0.5s "}, 3600.5),
        ({"Retry-After": "1.5s"}, {}, 1.5),
        ({"X-RateLimit-Reset-Minute": "6m0s"}, {}, 360.0),
        ({"Retry-After": "7"}, {"retry_after": "1m30"}, 7.0),
        ({"Retry-After": "7"}, {"retry_after": "s"}, 7.0),
        ({"Retry-After": "7"}, {"retry_after": "1" * 19 + "s"}, 7.0),
        # points in time that are none: seconds from now, milliseconds
        ({"X-RateLimit-Reset-Minute": "30"}, {}, 30.0),
        ({"X-RateLimit-Reset-Minute": "1772884830000"}, {}, 30.0),
        ({}, {"reset_at": 30}, 30.0),
        ({}, {"reset_at": 1_772_884_830_000}, 30.0),
        ({}, {"reset_at": 0}, 0.0),
        # the clock of the panel counts, not ours
        ({"Date": "Sat, 07 Mar 2026 11:55:00 GMT"}, {"reset_at": "2026-03-07T11:55:30Z"}, 30.0),
        ({"Date": "nonsense"}, {"reset_at": "2026-03-07T12:00:30Z"}, 30.0),
        # what says nothing is passed over
        ({"Retry-After": "7"}, {"retry_after": True}, 7.0),
        ({"Retry-After": "7"}, {"retry_after": "soon"}, 7.0),
        ({"Retry-After": "7"}, {"retry_after": "inf"}, 7.0),
        ({"Retry-After": "7"}, {"retry_after": [1], "reset_at": {"a": 1}}, 7.0),
        ({"Retry-After": "7"}, {"reset_at": "tomorrow"}, 7.0),
        ({"Retry-After": "soon"}, {}, None),
        ({"Retry-After": ""}, {}, None),
        ({"Retry-After": "7"}, b"<html>", 7.0),
        ({"Retry-After": "7"}, b"", 7.0),
    ],
)
def test_wait_is_read_from_header_or_body(headers, body, seconds):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert read_report(429, headers, data, now=NOW).retry_after == pytest.approx(seconds)
    assert make(429, data, headers).retry_after == pytest.approx(seconds)


def test_minute_header_counts_only_for_429():
    headers = {"X-RateLimit-Reset-Minute": "1772884830"}
    assert read_report(429, headers, b"", now=NOW).retry_after == 30.0
    assert read_report(503, headers, b"", now=NOW).retry_after is None
    assert read_report(503, {"Retry-After": "3"}, b"", now=NOW).retry_after == 3.0


@pytest.mark.parametrize(
    ("report", "limit", "window"),
    [
        ({"limit": "60", "window": "hour"}, 60, "hour"),
        ({"limit": None, "window": 7}, None, None),
        ({"limit": "many"}, None, None),
        ({"limit": -5}, None, None),
        ({"limit": 1e300}, None, None),
    ],
)
def test_limit_and_window_are_read(report, limit, window):
    error = make(429, {"error": report})
    assert (error.limit, error.window) == (limit, window)


KEYS = ["status", "error", "message", "details", "code", "request_id", "retry_after", "reset_at", "limit", "window"]
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*KEYS, "required_scope", "available_scopes", "other"]), inner, max_size=6)
    ),
    max_leaves=15,
)
header_values = st.text(max_size=30) | st.sampled_from(
    [DATE, "7", "text/html; charset=utf-16", "x; charset=unicode_escape"]
)


@given(
    st.integers(100, 999),
    st.dictionaries(
        st.sampled_from(
            ["Content-Type", "Date", "Retry-After", "Location", "X-Request-Id", "X-RateLimit-Reset-Minute"]
        ),
        header_values,
    ),
    st.binary() | json_values.map(json.dumps).map(str.encode),
)
def test_any_reply_becomes_a_printable_error(status, headers, body):
    error = make(status, body, headers)
    assert isinstance(error, PanelicaError)
    assert str(error)
    assert len(str(error)) < 1500
    wait = read_report(status, headers, body, now=NOW).retry_after
    assert wait is None or wait >= 0


def test_body_with_a_byte_order_mark_is_json() -> None:
    error = make(400, b"\xef\xbb\xbf" + json.dumps({"error": "no", "code": "X"}).encode())
    assert (error.message, error.code, error.from_panel) == ("no", "X", True)


@pytest.mark.parametrize("asked", ["1_0", "\uff15", "5 s", "0x10", "inf", "nan", "9" * 400, "1e999", "--5", ""])
def test_implausible_seconds_are_dropped(asked: str) -> None:
    assert read_report(503, {"Retry-After": asked}, b"").retry_after is None
    assert read_report(503, {}, json.dumps({"retry_after": asked}).encode()).retry_after is None


def test_end_of_a_long_body_is_ignored() -> None:
    body = b'{"message": "' + b"x" * 100_000 + b'"}'
    assert read_report(500, {}, body).error(method="GET", path="/v1/x").message.endswith("with broken JSON")


def test_title_is_read_only_at_the_top_of_a_page() -> None:
    page = b"<html>" + b" " * 5000 + b"<title>Late</title>"
    assert "Late" not in read_report(502, {}, page).error(method="GET", path="/v1/x").message
