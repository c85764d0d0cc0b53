"""Links that sign in: the public host is put in, and what is not https is refused."""

import pytest

from panelica_async import DecodeError
from tests.conftest import Connect
from tests.support.raw_server import RawServer, reply


async def test_private_host_is_replaced(server: RawServer, connect: Connect) -> None:
    link = "https://10.0.0.12:8443/auto-login?token=a%2Bb&redirect=%2Fdocker"
    server.script(reply(json={"status": "success", "data": {"url": link, "expires_in": 300}}))
    login = await connect(dialect="panel").accounts.sso_login("u1")
    assert login.url == "https://127.0.0.1:8443/auto-login?token=a%2Bb&redirect=%2Fdocker"
    assert login.expires_in == 300
    assert "token" not in repr(login)
    assert server.requests[0].target == "/api/external/v1/accounts/u1/sso-login"


@pytest.mark.parametrize(
    "link",
    [
        "http://panel.example.com:8443/auto-login?token=secret-token",
        "javascript:alert('secret-token')",
        "//panel.example.com/auto-login?token=secret-token",
        "https:///auto-login?token=secret-token",
        "https://[::1/auto-login?token=secret-token",
        "",
    ],
)
async def test_link_that_is_not_https_is_refused(server: RawServer, connect: Connect, link: str) -> None:
    server.script(reply(json={"status": "success", "data": {"login_url": link}}))
    with pytest.raises(DecodeError, match="the panel accepted the request, but the link") as caught:
        await connect(dialect="panel").accounts.sso_login("u1")
    assert "secret-token" not in f"{caught.value}{caught.value!r}{caught.value.__dict__}"
