"""The way to the panel: name, port, TLS, path, dialect; what answers instead of the API; other addresses."""

import asyncio
import socket
import ssl
import threading
from pathlib import Path

import pytest

from panelica_async.core.address import Address
from panelica_async.core.model import UNSET
from panelica_async.doctor import network
from panelica_async.doctor.network import check_tls, other_addresses
from panelica_async.sandbox import Sandbox
from tests.doctor.examining import (
    HEALTH,
    ME,
    NO_HEALTH,
    NoHost,
    OneHost,
    examine,
    found,
    port_of,
    session_on,
    skipped_after,
    states,
)
from tests.support.certificates import Certificate, self_signed
from tests.support.raw_server import GARBAGE, HANG, RESET, RawServer, Step, reply

PAGE = reply(body="<!doctype html><title>Panelica</title>", content_type="text/html")
NOT_FOUND_PAGE = reply(404, body="<html><title>404 Not Found</title>", content_type="text/html")
UNAVAILABLE = reply(502, body="<html>502 Bad Gateway</html>", content_type="text/html")
NOTHING = "http://127.0.0.1:1"


def secure(url: str) -> str:
    return url.replace("http://", "https://")


# No connection


async def test_connection_when_refused_fails() -> None:
    diagnosis = await examine(NOTHING)
    assert states(diagnosis) == skipped_after("connection")
    assert found(diagnosis, "connection").message == "nothing is listening at 127.0.0.1:1: the connection was refused"
    assert diagnosis.first is found(diagnosis, "connection")


async def test_connection_when_name_is_unknown_fails() -> None:
    async with session_on(NoHost({})) as session:
        diagnosis = await examine("panel.example.com", session=session)
        assert not session.closed
    assert states(diagnosis) == skipped_after("connection")
    assert found(diagnosis, "connection").message == "the name panel.example.com cannot be resolved"
    assert "DNS" in str(found(diagnosis, "connection").hint)


async def test_connection_when_handshake_hangs_fails(server: RawServer) -> None:
    """The handshake is never answered, which looks the same as dropped packets."""
    server.script(*[HANG] * 10)
    diagnosis = await examine(secure(server.origin), timeout=0.2)
    assert states(diagnosis) == skipped_after("connection")
    assert found(diagnosis, "connection").message.endswith(" timed out")
    assert "firewall" in str(found(diagnosis, "connection").hint)


# Something other than the API


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (PAGE, "{url} serves a web page, not the API"),
        (NOT_FOUND_PAGE, "the API does not answer at {url}: 404, 404 Not Found, a web page instead of JSON"),
        (reply(404, json={"error": "not found"}), "the API does not answer at {url}: 404, not found"),
        (reply(json={"hello": 1}), "something other than the API answers at {url}: required field 'status' is missing"),
        (
            reply(301, headers={"Location": "https://a.example/"}),
            "the API does not answer at {url}: 301, redirects are not followed; this one points to https://a.example/",
        ),
        (
            reply(401, body="<title>401 Authorization Required</title>"),
            "the API does not answer at {url}: 401, 401 Auth",
        ),
        (HANG, "{url} accepts connections, but did not answer within 0.5 s"),
        (RESET, "{url} did not answer: no complete reply came back"),
        (GARBAGE, "{url} did not answer: no complete reply came back"),
    ],
    ids=["page", "page-404", "404", "json", "redirect", "basic-auth", "silence", "reset", "garbage"],
)
async def test_address_when_another_server_answers_fails(
    server: RawServer, step: Step, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_CANDIDATE_TIMEOUT", 0.1)
    server.script(*[step] * 30)
    diagnosis = await examine(server.origin, timeout=0.5 if step is HANG else 5.0)
    assert states(diagnosis) == skipped_after("address")
    assert found(diagnosis, "address").message.startswith(message.format(url=f"{server.origin}/api/external"))
    assert not any("X-API-Key" in request.headers or "X-Signature" in request.headers for request in server.requests)


async def test_address_when_api_is_down_tries_no_other(server: RawServer) -> None:
    server.script(*[reply(502, body="<title>502 Bad Gateway</title>", content_type="text/html")] * 2)
    diagnosis = await examine(server.origin)
    assert states(diagnosis) == skipped_after("address")
    assert str(found(diagnosis, "address").hint).startswith("Check the API service of the panel")
    assert (len(server.requests), server.connections) == (2, 1)


# Other addresses


@pytest.mark.parametrize(
    ("address", "others"),
    [
        (
            "panel.example.com",
            [
                "http://panel.example.com:8443/api/external",
                "http://panel.example.com:3002",
                "https://panel.example.com:3002",
                "https://panel.example.com:3002/api/external",
            ],
        ),
        (
            "https://[2001:db8::1]:3002",
            [
                "https://[2001:db8::1]:3002/api/external",
                "http://[2001:db8::1]:3002/api/external",
                "https://[2001:db8::1]:8443/api/external",
                "http://[2001:db8::1]:3002",
            ],
        ),
        (
            "http://127.0.0.1:9000/panel/api/external",
            [
                "http://127.0.0.1:9000/api/external",
                "https://127.0.0.1:9000/api/external",
                "https://127.0.0.1:8443/api/external",
                "http://127.0.0.1:3002",
                "https://127.0.0.1:3002",
                "https://127.0.0.1:3002/api/external",
            ],
        ),
    ],
)
def test_other_addresses_when_parsed_are_the_same(address: str, others: list[str]) -> None:
    found = other_addresses(Address.parse(address))
    assert [str(other) for other in found] == others
    # The hint names a value that can be passed.
    assert [Address.parse(str(other)) for other in found] == found


async def test_address_when_path_is_wrong_names_the_right_one(box: Sandbox) -> None:
    diagnosis = await examine(f"{box.base_url.replace('/api/external', '/panel')}/v1", api_secret=box.api_secret)
    assert states(diagnosis) == skipped_after("address")
    assert found(diagnosis, "address").hint == f"Use {box.base_url} as base_url (--base-url): the API answers there."


async def test_address_when_path_is_ignored_warns(box: Sandbox) -> None:
    diagnosis = await examine(
        box.base_url.replace("/api/external", "/api/wrong"), api_key=box.api_key, api_secret=box.api_secret
    )
    assert states(diagnosis) == {"address": "warning"}
    address = found(diagnosis, "address")
    assert address.message.startswith(f"the API answers at {box.base_url} (healthy, ")
    assert address.message.endswith("; the path /api/wrong in base_url does not belong to the API and is ignored")
    assert address.hint == f"Set base_url (--base-url) to {box.base_url}."


async def test_connection_when_port_is_wrong_names_the_right_one(box: Sandbox) -> None:
    async with session_on(OneHost({3002: port_of(box.base_url)})) as session:
        diagnosis = await examine("https://panel.example.com:9443", session=session)
    assert states(diagnosis) == skipped_after("connection")
    assert "Use http://panel.example.com:3002 as" in str(found(diagnosis, "connection").hint)
    assert found(diagnosis, "connection").facts == {"elsewhere": "http://panel.example.com:3002"}
    assert {seen.operation for seen in box.requests} == {None, "health"}


async def test_hint_when_two_addresses_answer_names_the_likelier(box: Sandbox, certificate: Certificate) -> None:
    async with Sandbox(ssl=certificate.server_context) as secured:
        ports = {3002: port_of(box.base_url), 8443: port_of(secured.base_url)}
        for ssl, hint in (
            (certificate.fingerprint, "Use https://panel.example.com:8443/api/external as"),
            # Its certificate is not trusted; an address whose certificate is trusted comes first.
            (None, "Use http://panel.example.com:3002 as"),
        ):
            async with session_on(OneHost(ports)) as session:
                diagnosis = await examine("panel.example.com:9443", session=session, ssl=ssl)
            assert str(found(diagnosis, "connection").hint).startswith(hint)
        async with session_on(OneHost({8443: ports[8443]})) as session:
            diagnosis = await examine("panel.example.com:9443", session=session)
        assert str(found(diagnosis, "connection").hint).startswith("Check https://panel.example.com:8443/api/external:")


async def test_tls_when_server_speaks_http_names_http(box: Sandbox) -> None:
    diagnosis = await examine(secure(box.base_url))
    assert states(diagnosis) == skipped_after("tls")
    assert found(diagnosis, "tls").message.endswith(" does not speak TLS, or no version that this machine accepts")
    assert f"Use {box.base_url} as" in str(found(diagnosis, "tls").hint)


async def test_address_when_server_speaks_https_names_https(certificate: Certificate) -> None:
    async with Sandbox(ssl=certificate.server_context) as box:
        diagnosis = await examine(box.base_url.replace("https://", "http://"), ssl=certificate.fingerprint)
        assert states(diagnosis) == skipped_after("address")
        assert f"Use {box.base_url} as" in str(found(diagnosis, "address").hint)


# The certificate


async def test_tls_when_self_signed_names_fingerprint(certificate: Certificate) -> None:
    async with Sandbox(ssl=certificate.server_context) as box:
        diagnosis = await examine(box)
        assert states(diagnosis) == skipped_after("tls")
        tls = found(diagnosis, "tls")
        assert "self-signed" in tls.message
        assert tls.facts["fingerprint"] == certificate.fingerprint
        assert certificate.fingerprint in str(tls.hint)
        assert not box.requests, "nothing is sent to an untrusted server"
        # The hint helps.
        for trusted in (tls.facts["fingerprint"], certificate.path):
            accepted = await examine(box, ssl=trusted)
            assert states(accepted) == {}
            assert certificate.fingerprint in found(accepted, "tls").message


async def test_tls_when_pin_differs_fails(certificate: Certificate) -> None:
    async with Sandbox(ssl=certificate.server_context) as box:
        diagnosis = await examine(box, ssl=f"sha256:{'00' * 32}")
        assert states(diagnosis) == skipped_after("tls")
        assert "does not have the fingerprint set as ssl" in found(diagnosis, "tls").message
        assert found(diagnosis, "tls").facts["fingerprint"] == certificate.fingerprint
        assert not box.requests


@pytest.mark.parametrize("names", ["DNS:panel.example.com", "IP:192.0.2.1"])
async def test_tls_when_certificate_names_another_host_fails(tmp_path: Path, names: str) -> None:
    foreign = self_signed(tmp_path, names)
    async with Sandbox(ssl=foreign.server_context) as box:
        tls = found(await examine(box, ssl=foreign.path), "tls")
        assert tls.state == "failure"
        assert "name" in str(tls.hint)
        assert states(await examine(box, ssl=foreign.fingerprint)) == {}


@pytest.mark.parametrize("uses_context", [False, True])
async def test_tls_when_not_verified_warns(certificate: Certificate, uses_context: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with Sandbox(ssl=certificate.server_context) as box:
        diagnosis = await examine(box, ssl=context if uses_context else False)
        assert states(diagnosis) == {"tls": "warning"}
        assert certificate.fingerprint in found(diagnosis, "tls").message


async def test_tls_when_server_never_closes_is_read(certificate: Certificate) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = threading.Event()

        def serve() -> None:
            connection, _ = listening.accept()
            with certificate.server_context.wrap_socket(connection, server_side=True):
                done.wait(60)

        server = asyncio.create_task(asyncio.to_thread(serve))
        address = Address(origin=f"https://127.0.0.1:{listening.getsockname()[1]}", prefix="")
        async with asyncio.timeout(10):
            finding = await check_tls(address, False, None, 5)
        assert finding.facts == {"fingerprint": certificate.fingerprint}
        done.set()
        await server


async def test_tls_when_plain_http_warns_except_on_this_machine(box: Sandbox) -> None:
    async with session_on(OneHost({80: port_of(box.base_url)})) as session:
        options = {"api_key": box.api_key, "api_secret": box.api_secret, "session": session}
        diagnosis = await examine("http://panel.example.com:80", **options)
        assert states(diagnosis) == {"tls": "warning"}
        diagnosis = await examine("http://panel.localhost:80", **options)
        assert states(diagnosis) == {}


# The dialect


@pytest.mark.parametrize(
    ("answers", "chosen", "state", "dialect", "said"),
    [
        (HEALTH, "auto", "ok", "panel", "panel: the panel answers GET /health"),
        (NO_HEALTH, "auto", "ok", "reference", "reference: the panel has no GET /health"),
        (UNAVAILABLE, "auto", "warning", None, "the client cannot find out which API the panel speaks"),
        (HEALTH, "panel", "ok", "panel", "panel: the panel answers GET /health"),
        (NO_HEALTH, "panel", "warning", "panel", "panel, as chosen, but the panel speaks another"),
        (HEALTH, "reference", "warning", "reference", "reference, as chosen, but the panel speaks another"),
        (UNAVAILABLE, "reference", "ok", "reference", "reference, as chosen; GET /health does not show"),
    ],
)
async def test_dialect_is_the_one_the_client_will_speak(
    server: RawServer, answers: Step, chosen: str, state: str, dialect: str | None, said: str
) -> None:
    server.script(HEALTH, reply(json=ME), answers)
    finding = found(await examine(server.origin, dialect=chosen), "dialect")
    assert (finding.state, finding.facts["dialect"]) == (state, dialect)
    assert finding.message.startswith(said)
    assert len([request for request in server.requests if request.target == "/api/external/health"]) == 2


async def test_dialect_is_that_of_the_variable(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANELICA_DIALECT", "panel")
    server.script(HEALTH, reply(json=ME), HEALTH)
    assert found(await examine(server.origin, dialect=UNSET), "dialect").facts["chosen"] is True
