"""The way to the panel: name, port, TLS, path; what answers instead of the API, and where it is otherwise."""

import asyncio
import socket
import threading
from pathlib import Path

import pytest

from panelica_async.core.address import Address
from panelica_async.doctor import network
from panelica_async.doctor.network import check_tls, other_places
from panelica_async.sandbox import Sandbox
from tests.doctor.examining import NoHost, OneHost, examine, found, port_of, session_on, skipped_after, states
from tests.support.certificates import Certificate, self_signed
from tests.support.raw_server import GARBAGE, HANG, RESET, RawServer, Step, reply

PAGE = reply(body="<!doctype html><title>Panelica</title>", content_type="text/html")
NOT_FOUND_PAGE = reply(404, body="<html><title>404 Not Found</title>", content_type="text/html")
NOTHING = "http://127.0.0.1:1"


def secure(url: str) -> str:
    return url.replace("http://", "https://")


# No connection


async def test_nothing_listens() -> None:
    diagnosis = await examine(NOTHING)
    assert states(diagnosis) == skipped_after("connection")
    assert found(diagnosis, "connection").message == "nothing listens at 127.0.0.1:1: the connection was refused"
    assert diagnosis.first is found(diagnosis, "connection")


async def test_name_that_is_not_found() -> None:
    async with session_on(NoHost({})) as session:
        diagnosis = await examine("panel.example.com", session=session)
        assert not session.closed
    assert states(diagnosis) == skipped_after("connection")
    assert found(diagnosis, "connection").message == "the name panel.example.com is not found"
    assert "DNS" in str(found(diagnosis, "connection").hint)


async def test_connection_that_does_not_come_about(server: RawServer) -> None:
    """A handshake that is never answered; packets that are dropped look the same from here."""
    server.script(*[HANG] * 10)
    diagnosis = await examine(secure(server.origin), timeout=0.2)
    assert states(diagnosis) == skipped_after("connection")
    assert found(diagnosis, "connection").message.endswith(" does not accept a connection in time")
    assert "firewall" in str(found(diagnosis, "connection").hint)


# Something else than the API


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (PAGE, "a web page answers at {url}, not the API"),
        (NOT_FOUND_PAGE, "the API does not answer at {url}: 404, 404 Not Found, a web page instead of JSON"),
        (reply(404, json={"error": "not found"}), "the API does not answer at {url}: 404, not found"),
        (reply(json={"hello": 1}), "something else than the API answers at {url}: required field 'status' is missing"),
        (
            reply(301, headers={"Location": "https://a.example/"}),
            "the API does not answer at {url}: 301, redirects are not followed; this one points to https://a.example/",
        ),
        (
            reply(401, body="<title>401 Authorization Required</title>"),
            "the API does not answer at {url}: 401, 401 Auth",
        ),
        (HANG, "{url} accepts connections, but does not answer within 0.5 s"),
        (RESET, "no answer comes from {url}: no complete reply came back"),
        (GARBAGE, "no answer comes from {url}: no complete reply came back"),
    ],
    ids=["page", "page-404", "404", "json", "redirect", "basic-auth", "silence", "reset", "garbage"],
)
async def test_what_is_not_the_api(
    server: RawServer, step: Step, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_PLACE_TIMEOUT", 0.1)
    server.script(*[step] * 30)
    diagnosis = await examine(server.origin, timeout=0.5 if step is HANG else 5.0)
    assert states(diagnosis) == skipped_after("address")
    assert found(diagnosis, "address").message.startswith(message.format(url=f"{server.origin}/api/external"))
    assert not any("X-API-Key" in request.headers or "X-Signature" in request.headers for request in server.requests)


async def test_service_that_is_down_is_not_looked_for_elsewhere(server: RawServer) -> None:
    server.script(*[reply(502, body="<title>502 Bad Gateway</title>", content_type="text/html")] * 2)
    diagnosis = await examine(server.origin)
    assert states(diagnosis) == skipped_after("address")
    assert str(found(diagnosis, "address").hint).startswith("The API service of the panel is down")
    assert (len(server.requests), server.connections) == (2, 1)


# Where it is otherwise


@pytest.mark.parametrize(
    ("given", "others"),
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
def test_well_known_addresses(given: str, others: list[str]) -> None:
    places = other_places(Address.parse(given))
    assert [str(place) for place in places] == others
    # What is named can be passed in.
    assert [Address.parse(str(place)) for place in places] == places


async def test_wrong_path(box: Sandbox) -> None:
    diagnosis = await examine(f"{box.base_url.replace('/api/external', '/panel')}/v1", api_secret=box.api_secret)
    assert states(diagnosis) == skipped_after("address")
    assert found(diagnosis, "address").hint == f"The API answers at {box.base_url}: use that as base_url (--base-url)."


async def test_path_that_is_left_out(box: Sandbox) -> None:
    diagnosis = await examine(
        box.base_url.replace("/api/external", "/api/wrong"), api_key=box.api_key, api_secret=box.api_secret
    )
    assert states(diagnosis) == {"address": "warning"}
    address = found(diagnosis, "address")
    assert address.message.startswith(f"the API answers at {box.base_url}, ")
    assert address.message.endswith("; the path /api/wrong of base_url is not one of the API, and is left out")
    assert address.hint == f"Write base_url (--base-url) as {box.base_url}."


async def test_wrong_port(box: Sandbox) -> None:
    async with session_on(OneHost({3002: port_of(box.base_url)})) as session:
        diagnosis = await examine("https://panel.example.com:9443", session=session)
    assert states(diagnosis) == skipped_after("connection")
    assert "answers at http://panel.example.com:3002:" in str(found(diagnosis, "connection").hint)
    assert found(diagnosis, "connection").facts == {"elsewhere": "http://panel.example.com:3002"}
    assert {seen.operation for seen in box.requests} == {None, "health"}


async def test_address_that_is_likelier_goes_first(box: Sandbox, certificate: Certificate) -> None:
    async with Sandbox(ssl=certificate.server_context) as secured:
        ports = {3002: port_of(box.base_url), 8443: port_of(secured.base_url)}
        for ssl, hint in (
            (certificate.fingerprint, "The API answers at https://panel.example.com:8443/api/external:"),
            # Its certificate is not trusted: what can be told for sure goes first.
            (None, "The API answers at http://panel.example.com:3002:"),
        ):
            async with session_on(OneHost(ports)) as session:
                diagnosis = await examine("panel.example.com:9443", session=session, ssl=ssl)
            assert str(found(diagnosis, "connection").hint).startswith(hint)
        async with session_on(OneHost({8443: ports[8443]})) as session:
            diagnosis = await examine("panel.example.com:9443", session=session)
        assert str(found(diagnosis, "connection").hint).startswith("At https://panel.example.com:8443/api/external is")


async def test_https_where_there_is_none(box: Sandbox) -> None:
    diagnosis = await examine(secure(box.base_url))
    assert states(diagnosis) == skipped_after("tls")
    assert found(diagnosis, "tls").message.endswith(" does not speak TLS, or none that this machine accepts")
    assert f"answers at {box.base_url}:" in str(found(diagnosis, "tls").hint)


async def test_http_where_there_is_https(certificate: Certificate) -> None:
    async with Sandbox(ssl=certificate.server_context) as box:
        diagnosis = await examine(box.base_url.replace("https://", "http://"), ssl=certificate.fingerprint)
        assert states(diagnosis) == skipped_after("address")
        assert f"answers at {box.base_url}:" in str(found(diagnosis, "address").hint)


# The certificate


async def test_self_signed_certificate(certificate: Certificate) -> None:
    async with Sandbox(ssl=certificate.server_context) as box:
        diagnosis = await examine(box)
        assert states(diagnosis) == skipped_after("tls")
        tls = found(diagnosis, "tls")
        assert "self-signed" in tls.message
        assert tls.facts["fingerprint"] == certificate.fingerprint
        assert certificate.fingerprint in str(tls.hint)
        assert not box.requests, "nothing is sent to who knows whom"
        # What the hint says helps.
        for trusted in (tls.facts["fingerprint"], certificate.path):
            accepted = await examine(box, ssl=trusted)
            assert states(accepted) == {}
            assert certificate.fingerprint in found(accepted, "tls").message


async def test_another_certificate_than_the_pinned_one(certificate: Certificate) -> None:
    async with Sandbox(ssl=certificate.server_context) as box:
        diagnosis = await examine(box, ssl=f"sha256:{'00' * 32}")
        assert states(diagnosis) == skipped_after("tls")
        assert "is not the one whose fingerprint was given" in found(diagnosis, "tls").message
        assert found(diagnosis, "tls").facts["fingerprint"] == certificate.fingerprint
        assert not box.requests


@pytest.mark.parametrize("names", ["DNS:panel.example.com", "IP:192.0.2.1"])
async def test_certificate_for_another_name(tmp_path: Path, names: str) -> None:
    foreign = self_signed(tmp_path, names)
    async with Sandbox(ssl=foreign.server_context) as box:
        tls = found(await examine(box, ssl=foreign.path), "tls")
        assert tls.state == "failure"
        assert "name" in str(tls.hint)
        assert states(await examine(box, ssl=foreign.fingerprint)) == {}


async def test_certificate_that_is_not_verified(certificate: Certificate) -> None:
    async with Sandbox(ssl=certificate.server_context) as box:
        diagnosis = await examine(box, ssl=False)
        assert states(diagnosis) == {"tls": "warning"}
        assert certificate.fingerprint in found(diagnosis, "tls").message


async def test_server_that_does_not_take_its_leave(certificate: Certificate) -> None:
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


async def test_plain_http_over_a_network(box: Sandbox) -> None:
    async with session_on(OneHost({80: port_of(box.base_url)})) as session:
        options = {"api_key": box.api_key, "api_secret": box.api_secret, "session": session}
        diagnosis = await examine("http://panel.example.com:80", **options)
        assert states(diagnosis) == {"tls": "warning"}
        diagnosis = await examine("http://panel.localhost:80", **options)
        assert states(diagnosis) == {}
