"""Single values: how they are read, in bounded time and without misreading, and the rules for names."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from math import inf, nan

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from panelica_async.core.values import (
    ACCOUNT_NAME,
    DATABASE_NAME,
    FTP_NAME,
    MAILBOX_NAME,
    NameRule,
    find_header,
    parse_http_date,
    printable_header,
    read_count,
    read_number,
    read_scopes,
    read_seconds,
    read_unix_time,
    rfc3339,
    unix_time,
)
from panelica_async.provision.manifest import fields
from panelica_async.provision.manifest.fields import InvalidValueError
from panelica_async.sandbox.messages import ApiError
from panelica_async.sandbox.validation import (
    valid_database_name,
    valid_domain_name,
    valid_email,
    valid_ftp_name,
    valid_local_part,
    valid_username,
)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *(
            (12, 12.0),
            (1.5, 1.5),
            ("12", 12.0),
            (" 1.5 ", 1.5),
            ("-3", -3.0),
            ("+3", 3.0),
            ("1e3", 1000.0),
            ("1.", 1.0),
            ("\x1f1\x1c", 1.0),
        ),
        *((text, None) for text in ("", " ", "twelve", "1_0", "0x10", "1 2", "nan", "inf", "\u0661\u0662", "9" * 19)),
        *((value, None) for value in (True, None, [], {}, inf, nan, 10**400, "1e999", "1" * 1_000_000)),
    ],
)
def test_number_is_read_if_finite(value: object, number: float | None) -> None:
    assert read_number(value) == number


def test_count_is_whole_and_neither_negative_nor_huge() -> None:
    assert [read_count(value) for value in ("12.9", 0, -1.5, "x", 1e300)] == [12, 0, None, None, None]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (30, 30),
        ("1.5", 1.5),
        ("1h2m3s", 3723),
        ("1.25s", 1.25),
        ("1s500ms", 1.5),
        ("2us", 2e-6),
        ("3µs", 3e-6),
        ("4ns", 4e-9),
        *((value, None) for value in (None, True, "", "s", "m30s", "30 s", "-30s", "1d", "1m30", "1m" * 30_000 + "x")),
    ],
)
def test_seconds_are_a_number_or_a_duration_of_go(value: object, seconds: float | None) -> None:
    assert read_seconds(value) == pytest.approx(seconds)


@given(st.floats() | st.integers() | st.text() | st.from_regex(r"[0-9eE+._-]{1,30}"))
def test_number_is_finite_or_none(value: object) -> None:
    number = read_number(value)
    assert number is None or -inf < number < inf


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_time_without_a_zone_is_utc_wherever_we_are(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        naive = datetime(2026, 1, 15, 10, 30)  # noqa: DTZ001  the case that is tested
        assert unix_time(naive) == unix_time(naive.replace(tzinfo=UTC)) == 1768473000
        assert read_unix_time("2026-01-15T10:30:00") == 1768473000
        assert parse_http_date("Thu, 15 Jan 2026 10:30:00 -0000") == 1768473000
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "Thu, 99 Jan 2026 10:30:00 GMT", "9" * 5000, "0000-01-01"])
def test_text_that_is_no_time_becomes_none(text: str) -> None:
    assert read_unix_time(text) is None
    assert parse_http_date(text) is None


def test_moment_is_rfc3339_or_unix_seconds() -> None:
    assert (
        read_unix_time("2026-01-15T11:30:00+01:00")
        == read_unix_time(1768473000)
        == read_unix_time("1768473000")
        == 1768473000
    )


def test_time_of_any_zone_is_written_in_utc() -> None:
    assert rfc3339(datetime(2026, 1, 15, 11, 30, tzinfo=timezone(timedelta(hours=1)))) == "2026-01-15T10:30:00Z"


def test_scopes_are_bounded() -> None:
    assert read_scopes("domains:read, dns:*  ssl:write") == ("domains:read", "dns:*", "ssl:write")
    assert read_scopes(["domains:read", 1, None]) == ("domains:read",)
    assert len(read_scopes([f"s{number}" for number in range(10_000)])) == 100
    assert sum(map(len, read_scopes("x" * 1_000_000))) == 10_000
    assert read_scopes({"domains": "read"}) == ()


def test_header_is_found_in_any_case() -> None:
    assert find_header({"rEtRy-AfTeR": "5"}, "Retry-After") == "5"
    assert find_header({}, "Retry-After") is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("", None),
        ("req_1", "req_1"),
        (" req_1\r\n", "req_1"),
        ("\udcff\udcfe", None),
        ("a\x1b[2Jb\x9bü", "a[2Jb"),
        ("x" * 9000, "x" * 128),
    ],
)
def test_header_is_short_printable_ascii(value: str | None, text: str | None) -> None:
    assert printable_header(value) == text


# One rule for names: what a plan accepts, the sandbox accepts

LETTERS = "aB1._-+*@&'ü /"


@pytest.mark.parametrize(
    ("rule", "name", "is_allowed"),
    [
        (ACCOUNT_NAME, "alder", True),
        (ACCOUNT_NAME, "a" * 32, True),
        (ACCOUNT_NAME, "a" * 33, False),
        (ACCOUNT_NAME, "Alder", False),
        (ACCOUNT_NAME, "_alder", False),
        (ACCOUNT_NAME, "4ever", False),
        (ACCOUNT_NAME, "beta.shop", False),
        (ACCOUNT_NAME, "alder\n", False),
        (MAILBOX_NAME, "Info.a+b_c-d", True),
        (MAILBOX_NAME, "a" * 64, True),
        (MAILBOX_NAME, "a" * 65, False),
        (MAILBOX_NAME, "a..b", False),
        (MAILBOX_NAME, "a.", False),
        (MAILBOX_NAME, "-dash", False),
        (MAILBOX_NAME, "_postfix", False),
        (MAILBOX_NAME, "o'brien", False),
        (DATABASE_NAME, "shop_1", True),
        (DATABASE_NAME, "a" * 33, False),
        (DATABASE_NAME, "my-shop", False),
        (FTP_NAME, "Acme_FTP", True),
        (FTP_NAME, "deploy@alder.example", True),
        (FTP_NAME, "a" * 65, False),
        (FTP_NAME, ".hidden", False),
    ],
)
def test_rule_allows_names_of_its_form(rule: NameRule, name: str, is_allowed: bool) -> None:
    assert rule.allows(name) is is_allowed


@pytest.mark.parametrize(
    ("parse", "check"),
    [
        (fields.user_name, valid_username),
        (fields.mailbox_name, valid_local_part),
        (fields.database_name, lambda name: valid_database_name(name, "name")),
        (fields.ftp_name, valid_ftp_name),
        (fields.domain_name, valid_domain_name),
        (fields.email_address, valid_email),
    ],
)
@given(st.text(LETTERS, min_size=1, max_size=20) | st.text("ab.", min_size=1, max_size=70))
@example("a.bc")
@example("AcmeShop")
def test_sandbox_accepts_the_names_of_a_manifest(
    parse: Callable[[str], str], check: Callable[[str], str], name: str
) -> None:
    try:
        canonical = parse(name)
    except InvalidValueError:
        return
    assert check(canonical) == canonical


@pytest.mark.parametrize(
    ("check", "name"),
    [(valid_username, "Alder"), (valid_local_part, "*"), (valid_ftp_name, "-x")],
)
def test_sandbox_error_says_which_form_a_name_has(check: Callable[[str], str], name: str) -> None:
    with pytest.raises(ApiError) as caught:
        check(name)
    assert "must be a l" in str(caught.value.details)


def test_capitals_of_a_user_name_are_lowered() -> None:
    assert fields.user_name("AcmeShop") == "acmeshop"
    assert fields.user_name("N3") == "n3"


@pytest.mark.parametrize("name", ["*", ""])
def test_catch_all_is_no_mailbox(name: str) -> None:
    with pytest.raises(InvalidValueError, match="is a catch-all, not a mailbox"):
        fields.mailbox_name(name)
