"""Addresses as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panelica_async.core.address import Address
from panelica_async.errors import ConfigurationError

PUBLIC = "/api/external"


@pytest.mark.parametrize(
    ("text", "origin", "prefix"),
    [
        # a bare host, with a port, with space around
        ("panel.example.com", "https://panel.example.com:8443", PUBLIC),
        ("  panel.example.com\n", "https://panel.example.com:8443", PUBLIC),
        ("Panel.Example.COM", "https://panel.example.com:8443", PUBLIC),
        ("panel", "https://panel:8443", PUBLIC),
        ("192.0.2.7", "https://192.0.2.7:8443", PUBLIC),
        ("panel.example.com:9443", "https://panel.example.com:9443", PUBLIC),
        ("panel.example.com:443", "https://panel.example.com:443", PUBLIC),
        ("panel.example.com:0", "https://panel.example.com:8443", PUBLIC),
        ("panel.example.com:", "https://panel.example.com:8443", PUBLIC),
        ("xn--bcher-kva.example", "https://xn--bcher-kva.example:8443", PUBLIC),
        # IPv6
        ("[2001:db8::1]", "https://[2001:db8::1]:8443", PUBLIC),
        ("[2001:DB8::1]:9443", "https://[2001:db8::1]:9443", PUBLIC),
        ("2001:db8::1", "https://[2001:db8::1]:8443", PUBLIC),
        ("http://[::1]:3002", "http://[::1]:3002", ""),
        # URLs
        ("https://panel.example.com", "https://panel.example.com:8443", PUBLIC),
        ("https://panel.example.com/", "https://panel.example.com:8443", PUBLIC),
        ("HTTPS://panel.example.com:9443/", "https://panel.example.com:9443", PUBLIC),
        ("https://panel.example.com:8443/api/external", "https://panel.example.com:8443", PUBLIC),
        ("https://panel.example.com:8443/api/external/", "https://panel.example.com:8443", PUBLIC),
        ("https://panel.example.com/api/external/v1", "https://panel.example.com:8443", PUBLIC),
        ("https://panel.example.com/api/external/v1/", "https://panel.example.com:8443", PUBLIC),
        ("https://panel.example.com/v1", "https://panel.example.com:8443", PUBLIC),
        ("panel.example.com/api/external", "https://panel.example.com:8443", PUBLIC),
        ("panel.example.com:9443/v1/", "https://panel.example.com:9443", PUBLIC),
        # port 3002: the API without the web server that adds the prefix
        ("http://127.0.0.1:3002", "http://127.0.0.1:3002", ""),
        ("http://127.0.0.1:3002/", "http://127.0.0.1:3002", ""),
        ("http://127.0.0.1:3002/v1", "http://127.0.0.1:3002", ""),
        ("panel.example.com:3002", "https://panel.example.com:3002", ""),
        ("https://panel.example.com:3002/api/external/v1/", "https://panel.example.com:3002", PUBLIC),
        # a gateway with a prefix of its own
        (
            "https://gateway.example.com:443/panel-1/api/external",
            "https://gateway.example.com:443",
            "/panel-1" + PUBLIC,
        ),
        ("https://gateway.example.com:443/panel-1/v1", "https://gateway.example.com:443", "/panel-1"),
        # a page of the panel's interface, from the browser
        ("https://panel.example.com:9443/x", "https://panel.example.com:9443", PUBLIC),
        ("https://panel.example.com:8443/auth/login/", "https://panel.example.com:8443", PUBLIC),
        ("http://127.0.0.1:3002/x", "http://127.0.0.1:3002", ""),
        ("https://panel.example.com:8443/api/external/v1/domains", "https://panel.example.com:8443", PUBLIC),
    ],
)
def test_any_accepted_spelling_gives_the_address(text, origin, prefix):
    assert Address.parse(text) == Address(origin, prefix)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("   ", "empty"),
        (None, "string, not NoneType"),
        (8443, "string, not int"),
        ("https://", "host"),
        ("https://:8443", "host"),
        ("//panel.example.com", "host"),
        ("https:/panel.example.com", "two slashes"),
        ("HTTP:panel.example.com", "two slashes"),
        ("-panel.example.com", "host"),
        ("panel..example.com", "host"),
        ("a" * 64, "host"),
        ("a." * 130 + "example", "host"),
        ("[::1", "host"),
        ("https://[example]:8443", "host"),
        ("https://[fe80::1%25eth0]", "host"),
        ("bücher.example", "ASCII"),
        ("panel example", "spaces"),
        ("panel\x00.example.com", "control"),
        ("https:\\\\panel.example.com", "backslashes"),
        ("panel.example.com:port", "port"),
        ("panel.example.com:65536", "port"),
        ("panel.example.com:-1", "port"),
        ("ftp://panel.example.com", "http"),
        ("wss://panel.example.com", "http"),
        ("https://root:hunter2@panel.example.com", "password"),
        ("root:hunter2@panel.example.com:8443", "password"),
        ("https://panel.example.com?token=hunter2", "query"),
        ("https://panel.example.com/v1?", "query"),
        ("https://panel.example.com/#hunter2", "fragment"),
        ("https://panel.example.com//api/external", "segments"),
        ("https://panel.example.com/../api/external", "segments"),
        ("https://panel.example.com/./v1", "segments"),
        ("https://panel.example.com/a%2Fb/v1", "segments"),
    ],
)
def test_invalid_address_is_refused_without_quoting_it(text, problem):
    with pytest.raises(ConfigurationError, match=f"^base_url .*{problem}") as caught:
        Address.parse(text)
    assert caught.value.hint
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", ["panel.example.com", "http://127.0.0.1:3002", "https://g.example.com:443/p/v1"])
def test_url_of_the_api_reads_back_as_the_same_address(text):
    address = Address.parse(text)
    assert Address.parse(address.url("/v1")) == address


def test_url_joins_origin_prefix_and_path():
    address = Address.parse("panel.example.com")
    assert address.url("/v1/domains") == "https://panel.example.com:8443/api/external/v1/domains"
    assert str(address) == "https://panel.example.com:8443/api/external"
    with pytest.raises(ValueError, match="begin with a slash"):
        address.url("v1/domains")


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_configuration_error(text):
    try:
        address = Address.parse(text)
    except ConfigurationError:
        return
    assert address.origin.startswith(("http://", "https://"))
    assert address.origin.isascii()
    assert address.prefix == "" or address.prefix.startswith("/")
