"""Texts of replies: secrets of the request, characters that do harm, lengths."""

import html
import json
import quopri
import re
import shlex
from base64 import b64encode, urlsafe_b64encode
from html.entities import codepoint2name
from unicodedata import normalize
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from panelica_async.core.redaction import REDACTED
from panelica_async.core.request import PreparedRequest
from panelica_async.core.sanitizing import MAX_KEPT_LENGTH, Sanitizer

SECRETS = [
    "hunter2-x9y8z7",
    "correct horse 9",
    'quo"te\\and/slash',
    "it's & <more>",
    "pässwörd€",
    "$(rm -rf)`x`!",
    "a%2Fb+c=d",
    "line one\nline two of it",
    "😀 emoji",
]
WAYS = {
    "as it is": lambda secret: secret,
    "JSON": lambda secret: json.dumps(secret),
    "JSON in UTF-8": lambda secret: json.dumps(secret, ensure_ascii=False),
    "JSON in JSON": lambda secret: json.dumps(json.dumps(secret)),
    "JSON of Go": lambda secret: (
        json.dumps(secret, ensure_ascii=False).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    ),
    "URL": lambda secret: quote(secret, safe=""),
    "URL in lower case": lambda secret: re.sub("%..", lambda code: code[0].lower(), quote(secret, safe="")),
    "form": quote_plus,
    "shell": shlex.quote,
    "shell with backslashes": lambda secret: secret.replace("'", "'\\''"),
    "SQL": lambda secret: "'" + secret.replace("'", "''") + "'",
    "HTML": html.escape,
    "HTML of Go": lambda secret: html.escape(secret).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
    "HTML of PHP": lambda secret: html.escape(secret).replace("&#x27;", "&#039;"),
    "Base64": lambda secret: b64encode(secret.encode()).decode(),
    "Base64 of URLs": lambda secret: urlsafe_b64encode(secret.encode()).decode(),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "hexadecimal in capitals": lambda secret: secret.encode().hex().upper(),
    "bytes as Go shows them": lambda secret: f"{list(secret.encode())}".replace(",", "").strip("[]"),
    "bytes as numbers": lambda secret: f"{list(secret.encode())}".strip("[]"),
    "capitals": str.upper,
    "lower case": str.lower,
    "over several lines": lambda secret: "\n  ".join(wrap(secret)),
    "Base64 over several lines": lambda secret: "\r\n".join(wrap(b64encode(secret.encode()).decode())),
    "spaced out by invisible characters": "\u200b".join,
}


def wrap(text: str) -> list[str]:
    return [text[start : start + 5] for start in range(0, len(text), 5)]


HARMFUL = [chr(code) for code in (0, 7, 8, 9, 10, 13, 27, 0x7F, 0x85, 0x9B, 0xAD, 0x61C, 0x200B, 0x200E, 0x2028)] + [
    chr(code) for code in (0x202E, 0x2066, 0x2069, 0xFEFF, 0xD800, 0xDFFF, 0xE0041)
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("way", WAYS)
def test_secret_is_replaced_however_it_is_escaped(secret: str, way: str) -> None:
    shown = Sanitizer([secret]).clean_text(f"chpasswd: the word {WAYS[way](secret)} was refused")
    said = shown.removeprefix("chpasswd: the word ").removesuffix(" was refused")
    assert REDACTED in said
    assert said.replace(REDACTED, "").strip("\"'\\= ") == ""


ODD_WAYS = {
    "URL twice": lambda secret: quote(quote(secret, safe=""), safe=""),
    "URL of every byte": lambda secret: "".join(f"%{byte:02X}" for byte in secret.encode()),
    "URL of JavaScript": lambda secret: quote(secret, safe=";,/?:@&=+$-_.!~*'()#"),
    "URL in Latin-1": lambda secret: quote(secret.encode("latin-1", "replace")),
    "HTML twice": lambda secret: html.escape(html.escape(secret)),
    "HTML by number": lambda secret: "".join(f"&#{ord(char)};" for char in secret),
    "HTML by hexadecimal number": lambda secret: "".join(f"&#x{ord(char):X};" for char in secret),
    "JSON three times": lambda secret: json.dumps(json.dumps(json.dumps(secret))),
    "JSON of every character": lambda secret: "".join(f"\\u{ord(char):04x}" for char in secret),
    "bytes of Python": lambda secret: repr(secret.encode()),
    "bytes in hexadecimal": lambda secret: "".join(f"\\x{byte:02x}" for byte in secret.encode()),
    "bytes in octal": lambda secret: "".join(chr(byte) if byte < 127 else f"\\{byte:o}" for byte in secret.encode()),
    "every byte in octal": lambda secret: "".join(f"\\{byte:03o}" for byte in secret.encode()),
    "braces of JavaScript": lambda secret: "".join(f"\\u{{{ord(char):x}}}" for char in secret),
    "braces of Perl": lambda secret: "".join(char if char.isascii() else f"\\x{{{ord(char):x}}}" for char in secret),
    "code points": lambda secret: "".join(char if char.isascii() else f"<U+{ord(char):04X}>" for char in secret),
    "HTML by name": lambda secret: re.sub(
        r"\W|[^\x00-\x7f]",
        lambda char: f"&{codepoint2name[ord(char[0])]};" if ord(char[0]) in codepoint2name else char[0],
        secret,
    ),
    "quoted printable": lambda secret: quopri.encodestring(secret.encode()).decode(),
    "UTF-8 taken for Latin-1": lambda secret: secret.encode().decode("latin-1"),
    "question marks": lambda secret: secret.encode("ascii", "replace").decode(),
    "decomposed": lambda secret: normalize("NFD", secret),
}


@pytest.mark.parametrize("secret", ['Tr0ub4dor&3 "zé/+Q9', "pässwörd-2026%", "correct horse: 9"])
@pytest.mark.parametrize("way", ODD_WAYS)
def test_secret_is_recognised_by_its_letters_and_digits(secret: str, way: str) -> None:
    shown = Sanitizer([secret]).clean_text(f"chpasswd: the word {ODD_WAYS[way](secret)} was refused")
    said = shown.removeprefix("chpasswd: the word ").removesuffix(" was refused")
    assert REDACTED in said
    assert not re.search("[A-Za-z]{2}", said.replace(REDACTED, ""))


def test_words_that_differ_by_a_letter_stay() -> None:
    said = "the password of example.com was refused: 100%25 of &amp; used"
    assert Sanitizer(["pass-word-of-it", "example&org"]).clean_text(said) == said


@pytest.mark.parametrize("secret", ["Password!", "#username#", "[12-34-56-78]", "Key: email."])
def test_ordinary_words_and_numbers_are_no_secrets(secret: str) -> None:
    said = "Password: invalid username, key email, at 12:34:56.78"
    assert Sanitizer([secret]).clean_text(said) == said


@pytest.mark.parametrize("before", ["password=", "password%3D"])
@pytest.mark.parametrize("secret", ["ab!cdefgh12", "25!cdefgh12", "AB!cdefgh12"])
def test_secret_after_an_equals_sign_is_replaced(before: str, secret: str) -> None:
    shown = Sanitizer([secret]).redact(before + secret.replace("!", "%2521"))
    assert shown == before + REDACTED


@pytest.mark.parametrize("user", ["a", "ab", "abc", "admin@example.com"])
def test_secret_within_base64_is_replaced(user: str) -> None:
    said = b64encode(f"{user}:correct horse 9\n".encode()).decode()
    shown = Sanitizer(["correct horse 9"]).redact(f"Basic {said} was refused").replace(REDACTED, "")
    # A letter of Base64 before and after may belong to the secret too.
    assert len(shown) <= len(f"Basic  was refused{user}:\n") * 4 / 3 + 4


@pytest.mark.parametrize("length", [16, 20, 40])
def test_secret_that_the_server_cut_off_is_replaced(length: int) -> None:
    secret = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL"
    assert Sanitizer([secret]).redact(f"password is {secret[:length]}") == f"password is {REDACTED}"


@pytest.mark.parametrize("offset", range(MAX_KEPT_LENGTH - 20, MAX_KEPT_LENGTH + 240, 7))
@pytest.mark.parametrize("filler", ["a", "b "])
def test_secret_at_the_cut_is_replaced(offset: int, filler: str) -> None:
    filling = filler * MAX_KEPT_LENGTH
    shown = Sanitizer(["hunter2-x9y8z7"]).clean_text(filling[:offset] + "hunter2-x9y8z7" + filling)
    assert "hunt" not in shown
    assert len(shown) <= MAX_KEPT_LENGTH


def test_lines_of_a_secret_are_replaced_alone() -> None:
    content = "<?php\n  $db = 'hunter2-x9y8z7';\n"
    assert Sanitizer([content]).redact("syntax error near $db = 'hunter2-x9y8z7';") == f"syntax error near {REDACTED}"


def test_short_values_are_left_alone() -> None:
    assert Sanitizer(["80", "on", "", "and"]).redact("port 80 and on") == "port 80 and on"


@given(st.text(max_size=60), st.lists(st.text(min_size=4, max_size=20), max_size=3))
@example("aaaaaaa", ["aaaa", "aaaaa"])
def test_any_text_is_free_of_its_secrets(text: str, secrets: list[str]) -> None:
    said = text + "".join(secrets) + text
    shown = Sanitizer(secrets).redact(said)
    assert [secret for secret in secrets if secret in shown.replace(REDACTED, "\0")] == []


@pytest.mark.parametrize("char", HARMFUL)
def test_harmful_character_becomes_a_space(char: str) -> None:
    sanitizer = Sanitizer()
    assert sanitizer.clean_text(f"a{char}b") == "a b"
    assert sanitizer.clean_data({f"k{char}": [f"a{char}b"]}) == {"k": ["a b"]}
    assert sanitizer.clean_message(f"a{char}b") == ("a\nb" if char == "\n" else "a b")


def test_data_is_copied_without_secrets_at_any_depth() -> None:
    data = {"a": [{"hunter2-x9": "is hunter2-x9"}, 123456], "password": "x", "b": None, "c": True, "d": 1.5}
    assert Sanitizer(["hunter2-x9", "123456"]).clean_data(data) == {
        "a": [{REDACTED: f"is {REDACTED}"}, REDACTED],
        "password": REDACTED,
        "b": None,
        "c": True,
        "d": 1.5,
    }


def test_secret_as_a_list_of_bytes_is_replaced() -> None:
    data = {"data": [*b'{"a": "hunter2-x9"}'], "ids": [1, 2, 3]}
    assert Sanitizer(["hunter2-x9"]).clean_data(data) == {"data": REDACTED, "ids": [1, 2, 3]}


@pytest.mark.parametrize(
    "data",
    [
        "x" * 1_000_000,
        ["x" * 1000] * 1000,
        {f"key {number}": number for number in range(100_000)},
        [[]] * 100_000,
        {"k" * 10_000: "v"},
        {str(number) * 30: {} for number in range(10_000)},
    ],
)
def test_copied_data_is_bounded(data: object) -> None:
    assert len(json.dumps(Sanitizer().clean_data(data))) < 8 * MAX_KEPT_LENGTH


def test_secrets_of_a_request_are_found_at_any_depth() -> None:
    body = {"user": {"password": "word-1"}, "env": [{"DB_PASS": "word-2"}], "tokens": ["word-3", {"x": 4567}], "a": "b"}
    request = PreparedRequest(
        method="POST", path="/v1/x", query="filter%5Btoken%5D=word+5&q=z", body=json.dumps(body).encode()
    )
    assert request.secrets() == {"word-1", "word-2", "word-3", "4567", "word 5"}
    assert "word" not in repr(request)


@pytest.mark.parametrize(
    "body",
    [
        {"config": json.dumps({"db": {"password": "word-1"}})},
        {"config": json.dumps(json.dumps([{"token": "word-1"}]))},
        {"credentials": json.dumps({"user": "word-1"})},
        {"url": "postgres://shop:word-1@db.example.com/shop"},
        {"url": "see https://shop:word%2D1@example.com/x"},
        {"environment": ["DEBUG=1", "DB_PASSWORD=word-1"]},
        {"environment": [{"name": "DB_PASSWORD", "value": "word-1"}]},
        {"environment": [{"key": "API_TOKEN", "value": "word-1"}]},
    ],
    ids=str,
)
def test_secrets_within_texts_are_found(body: dict[str, object]) -> None:
    for request in (
        PreparedRequest(method="POST", path="/v1/x", body=json.dumps(body).encode()),
        PreparedRequest(method="GET", path="/v1/x", query=urlencode({"q": json.dumps(body)})),
    ):
        assert "word-1" in request.secrets()


def test_content_of_a_file_is_secret() -> None:
    body = b'{"path": "/a", "content": "DB=1"}'
    assert PreparedRequest(method="PUT", path="/v1/files/content", body=body).secrets() == {"DB=1"}
    assert PreparedRequest(method="PUT", path="/v1/notes", body=body).secrets() == set()


def test_secret_added_later_is_replaced_too() -> None:
    sanitizer = Sanitizer(["the-first-secret"])
    assert sanitizer.clean_text("the-first-secret, the-second-secret") == "[redacted], the-second-secret"
    sanitizer.add("the-second-secret")
    sanitizer.add("~~//~~")
    assert sanitizer.clean_text("the-first-secret, the-second-secret, ~~//~~") == "[redacted], [redacted], [redacted]"
    sanitizer.add("a b\tc")
    assert sanitizer.redact("the secret is a b\tc") == "the secret is [redacted]"


def test_secret_without_its_outer_blanks_is_replaced_in_base64() -> None:
    sent = b64encode(b"ab12\ncd34").decode()
    assert Sanitizer(["\n ab12\ncd34\n"]).redact(f"got {sent} from you") == "got [redacted] from you"


def test_password_across_the_cut_is_not_shown() -> None:
    """Without the text after the cut, it does not look like a password; replaced secrets moved it into view."""
    known, limit = "known-secret-" * 30, 250
    text = f"{known} postgres://admin:{'hunter2' * 20}@db.example.com"
    shown = Sanitizer([known]).clean_text(text, limit)
    assert "redacted" in shown
    assert "hunter2" not in shown
