"""Single values: their canonical spelling, or why they are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panelica_async.provision.manifest import fields
from panelica_async.provision.manifest.fields import InvalidValueError


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("example.com", "example.com"),
        (" Example.COM. ", "example.com"),
        ("a.b-c.example", "a.b-c.example"),
        ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("MÜNCHEN.example.", "xn--mnchen-3ya.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("123.example", "123.example"),
        (".".join(["a" * 61] * 4) + ".abcde", ".".join(["a" * 61] * 4) + ".abcde"),
        ("\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.example", "xn--mgba3gch31f060k.example"),
        ("\u200bexample.com\ufeff\u00a0", "example.com"),
        ("xn--i-7iq.example", "xn--i-7iq.example"),
    ],
)
def test_domain_name_in_any_spelling_is_canonical(written: str, expected: str) -> None:
    assert fields.domain_name(written) == expected
    assert fields.domain_name(expected) == expected


@pytest.mark.parametrize(
    "bad",
    [
        "",
        ".",
        "example",
        "a..example",
        "a-.example",
        "a b.example",
        f"{'a' * 64}.example",
        ".".join(["a" * 60] * 5),
        "*.example.com",
        "a.b",
        ".".join(["a" * 61] * 4) + ".abcdef",
        "a\u200cb.example",
        "a_b.example",
        "ü_b.example",
    ],
)
def test_domain_name_when_invalid_is_refused(bad: str) -> None:
    with pytest.raises(InvalidValueError):
        fields.domain_name(bad)


@pytest.mark.parametrize(
    "version",
    ["ea-php84", "PHP-8_4", "alt-php84", "plesk-php84-fpm", "php8.4-fpm", "8.4.11", "PHP 8.4.1", "8.4 FPM", "php_8.4"],
)
def test_php_versions_of_exports(version: str) -> None:
    assert fields.php_version(version) == "8.4"


@pytest.mark.parametrize(
    "version",
    ["84", "php8", "8_4", "8,4", "8.4.", "ea-8.4", "8.400", "08. Apr", "8.x", "\u0668.\u0664", "\uff18.\uff14"],
)
def test_php_version_when_invalid_is_refused(version: str) -> None:
    with pytest.raises(InvalidValueError, match="is not a PHP version"):
        fields.php_version(version)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/htdocs", "/htdocs"),
        ("htdocs/", "/htdocs"),
        ("/", "/"),
        ("//a//b/./c", "/a/b/c"),
        ("/home/a/..b", "/home/a/..b"),
    ],
)
def test_home_directory_in_any_spelling_is_canonical(path: str, expected: str) -> None:
    assert fields.home_directory(path) == expected


@pytest.mark.parametrize("path", ["..", "/../etc", "/a/../../b", "C:\\htdocs"])
def test_home_directory_outside_the_account_is_refused(path: str) -> None:
    with pytest.raises(InvalidValueError, match="is not a directory of the account"):
        fields.home_directory(path)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        *(
            (word, "lets_encrypt")
            for word in ("yes", "TRUE", "1", "on", "x", "lets_encrypt", "Let's Encrypt", "letsencrypt", True)
        ),
        *((word, "self_signed") for word in ("self_signed", "Self-Signed", "selfsigned")),
        *((word, None) for word in ("", "no", "None", "false", "0", "-", False, None)),
    ],
)
def test_word_for_yes_or_no_sets_ssl(word: object, expected: str | None) -> None:
    assert fields.ssl(word) == expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("8.4", "8.4"),
        ("PHP 8.4", "8.4"),
        ("php-7.4", "7.4"),
        ("php8.10", "8.10"),
        (8.3, "8.3"),
        ("", None),
        (None, None),
    ],
)
def test_php_version_in_any_notation_is_read(version: object, expected: str | None) -> None:
    assert fields.php_version(version) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("nginx", "nginx"),
        ("Apache", "apache"),
        ("nginx + apache", "nginx_apache"),
        ("nginx-only", "nginx_only"),
        ("", None),
    ],
)
def test_web_server_in_any_spelling_is_read(word: str, expected: str | None) -> None:
    assert fields.web_server(word) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("a@b.example", "a@b.example"),
        ("Ada.L+x@B.Example.", "Ada.L+x@b.example"),
        ("a@münchen.example", "a@xn--mnchen-3ya.example"),
    ],
)
def test_email_address_in_any_spelling_is_canonical(address: str, expected: str) -> None:
    assert fields.email_address(address) == expected


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "a",
        "\u0130@b.example",
        "\u017f@b.example",
        "@b.example",
        "a@",
        "a@b",
        "a b@c.example",
        ".a@b.example",
        "a@b@c.example",
        f"{'a' * 65}@b.example",
    ],
)
def test_email_address_when_invalid_is_refused(bad: str) -> None:
    with pytest.raises(InvalidValueError):
        fields.email_address(bad)


@given(st.text(max_size=40))
def test_canonical_spelling_stays_the_same(text: str) -> None:
    for check in (fields.host_name, fields.domain_name, fields.email_address, fields.web_server):
        try:
            once = check(text)
        except InvalidValueError:
            continue
        if once:
            assert check(once) == once
