"""Diagnoses a panel, and reads the findings."""

import socket
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from panelica_async.api.discovery import forget_dialects
from panelica_async.doctor import Diagnosis, Finding, diagnose
from panelica_async.sandbox import Sandbox
from tests.conftest import API_KEY, API_SECRET
from tests.support.raw_server import Step, reply

HEALTH = reply(json={"status": "ok", "service": "panelica-external-api", "version": "1.0.0"})
ME = {"name": "Shop", "key_prefix": "pk_live_a1", "scopes": ["*:*"], "rate_limit_tier": "professional"}
NO_HEALTH = reply(404, json={"error": "not found"})
CHECKS = ["connection", "tls", "address", "clock", "key", "rate_limit", "scopes", "dialect"]


async def examine(panel: Sandbox | str, **options: Any) -> Diagnosis:
    """Diagnose a sandbox with its key, or an address with a made-up key."""
    if isinstance(panel, Sandbox):
        options = {"api_key": panel.api_key, "api_secret": panel.api_secret, **options}
        panel = panel.base_url
    arguments = {"api_key": API_KEY, "api_secret": API_SECRET, "timeout": 5.0, "dialect": "auto", **options}
    forget_dialects()  # each diagnosis is one of a new process
    diagnosis = await diagnose(panel, **arguments)
    assert [finding.name for finding in diagnosis.findings] == CHECKS
    for finding in diagnosis.findings:
        assert bool(finding.hint) is (finding.state in {"warning", "failure"}), finding
    assert arguments["api_secret"] not in repr(diagnosis) + str(diagnosis.to_dict())
    return diagnosis


def found(diagnosis: Diagnosis, name: str) -> Finding:
    """Return the finding of a check."""
    return next(finding for finding in diagnosis.findings if finding.name == name)


def states(diagnosis: Diagnosis) -> dict[str, str]:
    """Return what is not ok."""
    return {finding.name: finding.state.value for finding in diagnosis.findings if finding.state != "ok"}


def skipped_after(failed: str) -> dict[str, str]:
    """Return the findings that are not ok, if one of the first three checks failed."""
    return {failed: "failure"} | dict.fromkeys(CHECKS[CHECKS.index(failed) + 1 :], "skipped")


def port_of(address: str) -> int:
    port = URL(address).port
    assert port is not None
    return port


class OneHost(AbstractResolver):
    """Resolves every name to this machine, and ports to others; the rest refuse connections."""

    def __init__(self, ports: Mapping[int, int]) -> None:
        self._ports = ports

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        target = {"host": "127.0.0.1", "port": self._ports.get(port, 1)}
        return [ResolveResult(hostname=host, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST, **target)]

    async def close(self) -> None:
        """Nothing to close."""


class NoHost(OneHost):
    """Resolves no name."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def session_on(resolver: AbstractResolver) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver))


def answer(status: int, code: str | None = None, message: str = "no", **more: Any) -> Step:
    return reply(status, json={"status": "error", "error": {"code": code, "message": message, **more}})


def asked(box: Sandbox) -> list[tuple[str | None, int]]:
    return [(seen.operation, seen.status) for seen in box.requests]
