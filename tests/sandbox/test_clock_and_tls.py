"""What a client learns without reading a body: the panel's time and its certificate."""

import re

import pytest

from panelica_async import ConnectError, PanelicaClient
from panelica_async.sandbox import Sandbox
from tests.sandbox.signed_client import Clock, SignedClient
from tests.support.certificates import Certificate


async def test_every_reply_has_the_time_of_the_panel(panel: SignedClient, clock: Clock) -> None:
    first = await panel.call("GET", "/v1/me")
    clock.advance(86_400.9)
    later = [
        await panel.call("GET", "/v1/me"),
        await panel.call("GET", "/v1/nothing"),
        await panel.call("DELETE", f"/v1/accounts/{(await panel.account())['id']}"),
    ]
    assert [answer.status for answer in later] == [200, 404, 204]
    assert first.headers["Date"] == "Sat, 07 Mar 2026 12:00:00 GMT"
    assert {answer.headers["Date"] for answer in later} == {"Sun, 08 Mar 2026 12:00:00 GMT"}


async def test_sandbox_with_a_certificate_serves_https(certificate: Certificate) -> None:
    async with Sandbox(ssl=certificate.server_context) as box:
        assert re.fullmatch(r"https://127\.0\.0\.1:\d+/api/external", box.base_url)
        for trusted in (certificate.path, certificate.fingerprint):
            key, secret = box.api_key, box.api_secret
            async with PanelicaClient(box.base_url, api_key=key, api_secret=secret, ssl=trusted) as panel:
                assert (await panel.me()).scopes == ["*:*"]
        async with PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret) as panel:
            with pytest.raises(ConnectError, match="self-signed certificate"):
                await panel.me()
        assert {seen.status for seen in box.requests} == {200}
