"""Replies with and without an envelope, objects that resemble one, and the object that was requested."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from panelica_async.core.operation import Wire
from panelica_async.core.reply import Envelope, find_object, translate_reply, unwrap, unwrap_list
from panelica_async.errors import DecodeError
from panelica_async.models import Backup, Database
from panelica_async.models.accounts import Account
from panelica_async.models.docker import AppTemplateDetails
from panelica_async.models.domains import Domain
from panelica_async.models.email import EmailAccount
from panelica_async.models.utility import CurrentKey
from panelica_async.models.wordpress import WordpressBackup, WordpressBackupStart

DOMAIN = {"id": "1", "domain": "example.com", "status": "active"}
INNER = {"id": "1", "status": "active"}
DELIVERY = {"id": "1", "status": "success", "data": DOMAIN}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        # (evidence: envelope)
        ({"status": "success", "data": DOMAIN}, Envelope(DOMAIN)),
        ({"status": "success", "data": [DOMAIN]}, Envelope([DOMAIN])),
        ({"status": "success", "data": [DOMAIN], "total": 1}, Envelope([DOMAIN], total=1)),
        ({"status": "success", "message": "deleted"}, Envelope(None, message="deleted")),
        ({"status": "success"}, Envelope(None)),
        ({"status": "success", "data": None}, Envelope(None)),
        ({"status": "success", "data": [], "message": "none yet"}, Envelope([], message="none yet")),
        ({"data": DOMAIN}, Envelope(DOMAIN)),
        ({"data": []}, Envelope([])),
        (
            {"data": [DOMAIN], "total": 127, "page": 1, "limit": 20},
            Envelope([DOMAIN], total=127, page=1, limit=20),
        ),
        # newer panels may add keys
        ({"status": "success", "data": [1], "took_ms": 3}, Envelope([1])),
        ({"data": [], "total": 0, "page": 0, "limit": 0}, Envelope([], total=0, page=0, limit=0)),
        ({"data": [], "total": "9" * 5000, "page": "9" * 19}, Envelope([])),
        (
            {"data": [], "meta": {"current_page": 2, "last_page": 3, "per_page": 5, "total": 12}},
            Envelope([], page=2, last_page=3, limit=5, total=12),
        ),
        ({"data": [], "pagination": {"has_more": True}}, Envelope([], has_more=True)),
        ({"data": [], "has_more": "true"}, Envelope([], has_more=True)),
        ({"data": [], "has_more": "many"}, Envelope([])),
        ({"data": [], "next_cursor": "b64", "total": None}, Envelope([], has_more=True)),
        ({"data": [], "next_cursor": ""}, Envelope([], has_more=False)),
        ({"data": [], "total": 250, "pagination": {"total": None, "page": 1}}, Envelope([], total=250, page=1)),
        ({"data": [], "pagination": {}, "meta": {"total": 250}}, Envelope([], total=250)),
        ({"data": [], "meta": {"pagination": {"total": 250, "total_pages": 5}}}, Envelope([], total=250, last_page=5)),
        ({"data": [], "meta": {"next": None}}, Envelope([], has_more=False)),
        ({"data": [], "next": None}, Envelope([], has_more=False)),
        ({"data": [], "links": {"next": "/v1/domains?page=2"}}, Envelope([], has_more=True)),
        # numbers as text, and what is no count
        ({"data": [], "total": "127", "page": "1"}, Envelope([], total=127, page=1)),
        ({"data": [], "total": -1, "page": 1.5, "limit": True}, Envelope([])),
        ({"data": [], "total": "many", "page": "²", "limit": None}, Envelope([])),
        ({"status": "success", "message": {"key": "x"}}, Envelope(None)),
        # a 200 that reports an error
        ({"status": "error", "error": "no"}, Envelope(None, failed=True)),
        ({"status": "error"}, Envelope(None, failed=True)),
        ({"status": "error", "message": "no"}, Envelope(None, message="no", failed=True)),
        (
            {"status": "error", "error": {"code": "X"}, "details": "y", "request_id": "r"},
            Envelope(None, failed=True, request_id="r"),
        ),
        ({"status": "error", "data": None, "error": "no"}, Envelope(None, failed=True)),
        ({"status": "error", "message": "full", "field": "disk"}, Envelope(None, message="full", failed=True)),
        ({"status": "fail", "data": {"domain": "taken"}}, Envelope({"domain": "taken"}, failed=True)),
        ({"status": "failed", "message": "no", "took_ms": 3}, Envelope(None, message="no", failed=True)),
        ({"success": False, "message": "no", "took_ms": 3}, Envelope(None, message="no", failed=True)),
        ({"success": False, "data": None}, Envelope(None, failed=True)),
        ({"error": "no"}, Envelope(None, failed=True)),
        ({"error": {"code": "X"}, "request_id": "r"}, Envelope(None, failed=True, request_id="r")),
        ({"errors": [{"title": "no"}]}, Envelope(None, failed=True)),
        ({"status": "error", "error": "no", "limit": 60, "retry_after": 9}, Envelope(None, limit=60, failed=True)),
        # words in another case, flags, and errors that say nothing
        ({"status": "Success"}, Envelope(None)),
        ({"status": "SUCCESS", "data": DOMAIN}, Envelope(DOMAIN)),
        ({"status": "OK", "data": DOMAIN, "message": "done"}, Envelope(DOMAIN, message="done")),
        ({"success": True, "data": [DOMAIN], "total": 1}, Envelope([DOMAIN], total=1)),
        ({"success": True, "message": "deleted"}, Envelope(None, message="deleted")),
        ({"status": True, "data": DOMAIN}, Envelope(DOMAIN)),
        ({"error": None, "data": DOMAIN}, Envelope(DOMAIN)),
        ({"code": 0, "message": "", "errors": [], "data": DOMAIN}, Envelope(DOMAIN, message="")),
        ({"status": "Error", "error": "no"}, Envelope(None, failed=True)),
        ({"status": "FAILED", "message": "no", "took_ms": 3}, Envelope(None, message="no", failed=True)),
        ({"status": False, "message": "no"}, Envelope(None, message="no", failed=True)),
        ({"data": None, "error": "no"}, Envelope(None, failed=True)),
        ({"data": {}, "errors": [{"title": "no"}]}, Envelope({}, failed=True)),
        ({"success": True, "data": DOMAIN, "error": "old"}, Envelope(DOMAIN)),
        ({"success": "false", "message": "no", "took_ms": 3}, Envelope(None, message="no", failed=True)),
        ({"success": 0, "message": "no"}, Envelope(None, message="no", failed=True)),
        ({"ok": False, "error": "no", "took_ms": 3}, Envelope(None, failed=True)),
        ({"id": "1", "ok": False, "message": "no"}, Envelope(None, message="no", failed=True)),
        ({"id": "1", "success": False, "message": "no"}, Envelope(None, message="no", failed=True)),
        ({"result": "error", "message": "no"}, Envelope(None, message="no", failed=True)),
        ({"result": "failed", "message": "no", "took_ms": 3}, Envelope(None, message="no", failed=True)),
        ({"status": 400, "message": "no"}, Envelope(None, message="no", failed=True)),
        ({"statusCode": 409, "error": "Conflict", "message": "no"}, Envelope(None, message="no", failed=True)),
        ({"ok": True, "message": "deleted"}, Envelope(None, message="deleted")),
        ({"success": 1, "data": DOMAIN}, Envelope(DOMAIN)),
        ({"result": "success", "data": DOMAIN}, Envelope(DOMAIN)),
        # numbers for words
        ({"status": 200, "message": "OK", "data": DOMAIN}, Envelope(DOMAIN, message="OK")),
        ({"statusCode": 201, "data": DOMAIN}, Envelope(DOMAIN)),
        ({"code": 200, "msg": "ok", "data": [DOMAIN], "total": 1}, Envelope([DOMAIN], total=1)),
        ({"code": 0, "msg": "ok", "data": DOMAIN}, Envelope(DOMAIN)),
        ({"code": 7, "msg": "no", "data": {}}, Envelope({}, failed=True)),
        ({"code": 500, "message": "no", "data": None}, Envelope(None, message="no", failed=True)),
        # wrapped twice
        (
            {"status": "success", "data": {"status": "success", "data": [DOMAIN], "total": 1}},
            Envelope([DOMAIN], total=1),
        ),
        ({"data": {"success": True, "data": DOMAIN}, "message": "done"}, Envelope(DOMAIN, message="done")),
        ({"status": "success", "data": DELIVERY}, Envelope(DELIVERY)),
    ],
)
def test_envelope_is_removed(payload, expected):
    assert unwrap(payload) == expected


@pytest.mark.parametrize(
    "payload",
    [
        None,
        True,
        7,
        "text",
        [],
        [DOMAIN],
        {},
        DOMAIN,
        # the reference's own bare replies
        {"status": "healthy", "version": "1.0.27", "uptime": "10d 5h 30m"},
        {"tier": "professional", "requests_per_minute": 300, "limit": 60},
        {"id": "1", "name": "New Key", "api_key": "pk_live_a", "message": "shown once"},
        # No envelope (evidence: address-health).
        {"service": "panelica-external-api", "status": "ok", "timestamp": "2026-08-13T06:12:46Z", "version": "1.0.0"},
        {"status": "ok"},
        {"status": "online"},
        # a status of its own
        {"status": "active"},
        {"status": "Active"},
        {"status": None},
        {"url": "https://example.com", "status": 200, "data": []},
        {"code": 7, "message": "read it to the caller"},
        {"status": ["success"]},
        {"status": 200, "message": "hello"},
        {"id": "1", "status": 404, "message": "hello"},
        {"result": {"updated": 3}},
        {"id": "1", "ok": "maybe", "success": None},
        {"name": "nginx", "display_name": "Nginx", "status": "error", "pid": None},
        {"id": "1", "event_type": "domain.created", "status": "success", "status_code": 200},
        {"status": "success", "id": "1"},
        {"status": "running", "data": {"pid": 1}},
        # a `data` of its own
        {"id": "1", "data": "v=spf1"},
        {"data": "v=spf1", "ttl": 3600},
        {"data": [], "name": "x", "total": 2},
        # neither
        {"message": "hello"},
        {"total": 3},
    ],
)
def test_bare_replies_stay_unchanged(payload):
    envelope = unwrap(payload)
    assert envelope == Envelope(payload)
    assert envelope.data is payload


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=15,
)


@given(json_values)
def test_envelope_returns_its_data(data):
    assert unwrap({"status": "success", "data": data}) == Envelope(data)
    assert unwrap({"data": data}) == Envelope(data)


near_envelopes = st.dictionaries(
    st.sampled_from(["status", "data", "message", "total", "page", "error", "code", "id"]),
    st.sampled_from(["success", "error", "active", 1]) | json_values,
)


@given(near_envelopes)
@example({"status": False})
@example({"status": 500, "data": None})
def test_unwrap_loses_and_invents_nothing(payload):
    envelope = unwrap(payload)
    assert envelope.data is payload or envelope.data is payload.get("data")
    status = payload.get("status")
    states_failure = status is False or str(status).lower() in {"error", "fail"} or status in range(400, 600)
    assert not envelope.failed or states_failure or payload.get("error") or payload.get("code")


objects = st.dictionaries(
    st.sampled_from(["status", "data", "message", "error", "success", "ok", "result", "code", "total", "name"]),
    st.sampled_from([None, True, False, 0, "", "success", "error", "ok", "false", 500, {"id": "2"}, {"data": 1}]),
    max_size=5,
)


@given(objects)
def test_any_object_with_an_id_follows_the_rules(fields):
    payload = {"id": "1", **fields}
    with pytest.MonkeyPatch.context() as patch:
        # Nothing is decided before the rules are applied.
        patch.setattr("panelica_async.core.reply._DECISIVE_KEYS", {"id"})
        expected = unwrap(payload)
    assert unwrap(payload) == expected


@pytest.mark.parametrize(
    ("data", "key", "expected"),
    [
        ([1, 2], None, Envelope([1, 2])),
        ([1, 2], "files", Envelope([1, 2])),
        (None, None, Envelope([])),
        (None, "files", Envelope([])),
        ({"files": [1], "path": "/home"}, "files", Envelope([1])),
        ({"files": None}, "files", Envelope([])),
        ({"files": []}, "files", Envelope([])),
        # under another name
        ({"files": [1], "path": "/"}, None, Envelope([1])),
        ({"items": [1], "path": "/"}, "entries", Envelope([1])),
        ({"files": [1], "warnings": [2], "total": 250, "page": 1}, None, Envelope([1], total=250, page=1)),
        ({"data": [1], "pagination": {"has_more": True}}, None, Envelope([1], has_more=True)),
        ({"results": None}, None, Envelope([])),
    ],
)
def test_rows_of_a_list_are_found(data, key, expected):
    assert unwrap_list(Envelope(data), key, endpoint="GET /v1/files") == expected


def test_rows_under_either_word_of_a_path_are_found():
    assert unwrap_list(Envelope({"accounts": [1]}), endpoint="GET /v1/email-accounts").data == [1]


def test_total_beside_the_data_beats_the_one_in_it():
    assert unwrap_list(Envelope({"items": [1], "total": 250}, total=1)) == Envelope([1], total=1)


@pytest.mark.parametrize(
    ("data", "key", "text"),
    [
        ({"warnings": []}, None, "GET /v1/files: expected a list, found an object with warnings at $"),
        ({}, None, "GET /v1/files: expected a list, found an object with no keys at $"),
        ({"path": "/"}, "files", "GET /v1/files: expected a list, found an object without files at $"),
        ({"files": {"a": 1}}, "files", "GET /v1/files: expected a list, found an object with a at $.files"),
        ("text", None, "GET /v1/files: expected a list, found str at $"),
        (7, "files", "GET /v1/files: expected a list, found int at $"),
    ],
)
def test_rows_when_reply_is_no_list_raise(data, key, text):
    with pytest.raises(DecodeError) as caught:
        unwrap_list(Envelope(data), key, endpoint="GET /v1/files")
    assert str(caught.value) == text


def test_error_about_an_object_names_its_first_keys():
    envelope = Envelope({f"k{number}": {} for number in range(1000)})
    with pytest.raises(DecodeError, match="an object with k0, k1, k2, k3, k4, k5, k6, k7, k8, k9 and 990 more"):
        unwrap_list(envelope)


@pytest.mark.parametrize("other", [3, None, {"id": "1"}])
def test_rows_are_the_name_that_holds_a_list(other: object) -> None:
    shown = {"status": "success", "data": {"domains": other, "items": [DOMAIN]}}
    assert unwrap_list(unwrap(shown), endpoint="GET /v1/domains").data == [DOMAIN]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"account": INNER}, Account),
        ({"account": INNER, "message": "done", "status": "success"}, Account),
        ({"account": INNER, "took_ms": 3}, Account),
        ({"user": INNER}, Account),
        ({"object": INNER}, Account),
        ({"domain": INNER, "ssl": {"id": "2"}}, Domain),
        ({"email_account": INNER, "took_ms": 3}, EmailAccount),
        ({"backup": INNER, "took_ms": 3}, WordpressBackup),
    ],
)
def test_object_is_found_under_the_name_of_its_kind(data: dict[str, Any], kind: Any) -> None:
    assert find_object(data, kind, {}) is INNER


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        # A part of an object that shows no id of its own.
        ({"plan": INNER, "username": "acme"}, Account),
        ({"plan": INNER, "login": "acme"}, Account),
        ({"owner": INNER, "took_ms": 3}, Account),
        # Another object alone, whose id would be taken for that of the domain.
        ({"ssl": INNER}, Domain),
        ({"zone": INNER, "message": "done"}, Domain),
        ({"user": INNER}, Domain),
        # A field of the result.
        ({"template": INNER}, AppTemplateDetails),
        ({"user": INNER}, CurrentKey),
        ({"backup": INNER}, WordpressBackupStart),
        # Its own fields stand beside it.
        ({"account": INNER, "plan": INNER, "username": "acme"}, Account),
        (INNER, Account),
    ],
)
def test_part_of_an_object_is_not_mistaken_for_it(data: dict[str, Any], kind: Any) -> None:
    assert find_object(data, kind, {}) is data


def test_reply_gets_the_names_and_values_of_the_contract() -> None:
    wire = Wire(
        method="GET",
        path="/v1/backups",
        reply_fields={"id": "filename", "type": "kind"},
        reply_values={"type": {"whole": "full"}},
    )
    row = {"backup_id": "b1", "filename": "a.tar.gz", "kind": "whole", "node": 1}
    assert translate_reply(row, wire, Backup) == {
        "id": "a.tar.gz",
        "backup_id": "b1",
        "filename": "a.tar.gz",
        "type": "full",
        "node": 1,
    }
    assert translate_reply([row, None], wire, Backup) == [translate_reply(row, wire, Backup), None]
    assert translate_reply({"filename": None, "id": "b1"}, wire, Backup) == {"filename": None, "id": "b1"}
    assert row == {"backup_id": "b1", "filename": "a.tar.gz", "kind": "whole", "node": 1}


def test_reply_values_are_found_under_every_name_of_a_field() -> None:
    wire = Wire(method="GET", path="/v1/domains", reply_values={"domain": {"x": "y"}})
    assert translate_reply({"domain_name": "x", "name": 3}, wire, Domain) == {"domain_name": "y", "name": 3}


def test_row_of_another_kind_is_left_unchanged() -> None:
    wire = Wire(method="GET", path="/v1/databases", reply_fields={"name": "title"})
    assert translate_reply("text", wire, Database) == "text"
