"""`--log`: a file with every call of a command, even a failing one, and without secrets."""

import asyncio
import csv
import json
import logging
import re
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
from aiohttp import web

from panelica_async.cli.output import log_to
from panelica_async.core.signing import SIGNATURE_HEADER, Signer
from panelica_async.sandbox import Sandbox
from tests.cli.harness import Command, Outcome, Process, write_manifest
from tests.conftest import API_KEY, API_SECRET
from tests.support.faulty_proxy import Fault, FaultyProxy
from tests.support.raw_server import CLOSE, RawServer

Run = Callable[..., Outcome]

LOG = Path("run.log")
JOURNAL = Path(".panelica/launch.journal.db")
PASSWORDS = Path(".panelica/launch.passwords.csv")
FAST = ("--sandbox", "--sandbox-tier", "enterprise")
FULLY = ("--debug", "--log", "run.log")
OWN = "own-horse-9-battery"
"""A password in the manifest."""
TAKEN = {"username": "other", "email": "owner2@mail.example", "password": "taken-horse-9-staple"}
"""An account that conflicts with the owner of the second site."""
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING) call \d+ \S.*: \S.*")

pytestmark = pytest.mark.once


@attrs.define
class Recorded:
    """Runs commands and keeps their output."""

    run: Run
    texts: dict[str, str] = attrs.Factory(dict)

    def __call__(self, *arguments: str) -> Outcome:
        outcome = self.run(*arguments)
        for name in ("stdout", "stderr"):
            self.texts[f"{name} of {' '.join(arguments)}"] = getattr(outcome, name)
        return outcome

    def search(self, secrets: set[str]) -> None:
        """Check that no secret is in the output, the log or the journal, and that the log is complete."""
        files = [LOG, *Path(".panelica").glob("launch.journal*")]
        for path in files:
            self.texts[str(path)] = path.read_bytes().decode("latin-1")
        assert {LOG, JOURNAL} <= set(files)
        found = {(place, secret) for place, text in self.texts.items() for secret in secrets if secret in text}
        assert found == set()
        lines = self.texts[str(LOG)].splitlines()
        assert [line for line in lines if not LINE.fullmatch(line)] == []


def launch(recorded: Recorded, *panel: str) -> set[str]:
    """Plan and apply three sites, one of which fails; return every password used."""
    write_manifest_with_a_password(Path("launch.csv"))
    made = recorded("api", "POST", "/v1/accounts", "--data", json.dumps(TAKEN), *panel, *FULLY)
    planned = recorded("provision", "plan", "launch.csv", "--json", *panel, *FULLY)
    applied = recorded("provision", "apply", "launch.csv", "--yes", *panel, *FULLY)
    assert (made.code, planned.code, applied.code) == (0, 1, 1)
    assert "3 sites: 2 done, 1 failed." in applied.stdout
    return {*generated_passwords(), OWN, TAKEN["password"]}


def write_manifest_with_a_password(path: Path) -> None:
    head, first, *rows = write_manifest(path, 3).read_text().splitlines()
    path.write_text("\n".join([f"{head},password", f"{first},{OWN}", *(f"{row}," for row in rows)]))


def generated_passwords() -> set[str]:
    with PASSWORDS.open(newline="") as file:
        generated = {row["password"] for row in csv.DictReader(file)} - {""}
    assert len(generated) >= 8
    return generated


def test_secrets_are_only_in_the_passwords_file(panelica: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    signatures: set[str] = set()
    sign = Signer.headers

    def signed(*arguments: object, **more: object) -> dict[str, str]:
        headers = sign(*arguments, **more)  # type: ignore[arg-type]
        signatures.add(headers[SIGNATURE_HEADER])
        return headers

    monkeypatch.setattr(Signer, "headers", signed)
    recorded = Recorded(panelica)
    passwords = launch(recorded, *FAST)
    again = recorded("provision", "apply", "launch.csv", "--json", *FAST, *FULLY)
    refused = recorded("api", "POST", "/v1/accounts", "--data", json.dumps(TAKEN), *FAST, *FULLY)
    assert (again.code, refused.code) == (1, 1)
    assert "Traceback" in refused.stderr
    assert len(signatures) > 20
    recorded.search({*passwords, *asyncio.run(credentials(".panelica/sandbox.db")), *signatures})


async def credentials(database: str) -> set[str]:
    async with Sandbox(db=database) as box:
        return {box.api_key, box.api_secret}


async def test_secrets_when_a_reply_is_lost_stay_hidden(
    start: Callable[..., Process], panelica: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    signatures: set[str] = set()
    faults = {10: Fault.LOST_REPLY}
    writes = 0

    def decide(request: web.Request) -> Fault | None:
        nonlocal writes
        signatures.add(request.headers[SIGNATURE_HEADER])
        writes += request.method != "GET"
        return faults.pop(writes, None)

    async with Sandbox("enterprise") as box, FaultyProxy(box, decide) as proxy:
        monkeypatch.setenv("PANELICA_BASE_URL", proxy.base_url)
        monkeypatch.setenv("PANELICA_API_KEY", box.api_key)
        monkeypatch.setenv("PANELICA_API_SECRET", box.api_secret)
        recorded = Recorded(lambda *arguments: start(*arguments).end())
        passwords = await asyncio.to_thread(launch, recorded)
        assert faults == {}
        assert len(signatures) > 20
        recorded.search({*passwords, box.api_key, box.api_secret, *signatures})


def log() -> str:
    return LOG.read_text()


def test_log_is_private_and_appended_to(panelica: Command) -> None:
    for _ in range(2):
        assert panelica("api", "GET", "/v1/me", *FAST, "--log", "run.log").code == 0
    assert stat.S_IMODE(LOG.stat().st_mode) == 0o600
    assert log().count("GET /v1/me: attempt 1") == log().count("GET /v1/me: succeeded with 200") == 2


def test_log_when_a_link_is_rejected_before_a_call(panelica: Command) -> None:
    target = Path("target.log")
    target.write_text("kept\n")
    LOG.symlink_to(target)
    outcome = panelica("api", "GET", "/v1/me", *FAST, "--log", "run.log")
    assert (outcome.code, outcome.stdout) == (2, "")
    assert outcome.stderr.startswith("Error: run.log is a symbolic link; it must be private to this user\n")
    assert target.read_text() == "kept\n"


def test_log_when_readable_by_others_becomes_private(panelica: Command) -> None:
    LOG.touch(mode=0o644)
    LOG.chmod(0o644)
    assert panelica("api", "GET", "/v1/me", *FAST, "--log", "run.log").code == 0
    assert stat.S_IMODE(LOG.stat().st_mode) == 0o600


def test_logging_is_restored_after_the_command(panelica: Command) -> None:
    logger = logging.getLogger("panelica_async")
    before = (logger.level, list(logger.handlers))
    panelica("api", "GET", "/v1/none", *FAST, "--log", "run.log")
    assert (logger.level, list(logger.handlers)) == before


async def test_warnings_are_in_the_log_alone(
    server: RawServer, panelica: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANELICA_API_SECRET", API_SECRET)
    server.script(CLOSE)
    options = ("--base-url", server.origin, "--api-key", API_KEY, "--tier", "enterprise", "--log", "run.log")
    outcome = await asyncio.to_thread(panelica, "api", "POST", "/v1/things", *options)
    assert " WARNING call 1 POST /v1/things: unknown after " in log()
    assert [line.partition(" ")[0] for line in outcome.stderr.splitlines()] == ["Error:", "Hint:"]


def test_log_when_writing_fails_stops_with_one_message(tmp_path: Path) -> None:
    failures: list[OSError] = []
    logger = logging.getLogger("panelica_async")
    path = tmp_path / "run.log"
    with log_to(path, failures.append), file_size_limit(100):
        for number in range(10):
            logger.debug("%s", f"{number} is a line of a call")
    assert [str(path) for _ in failures] == [error.filename for error in failures] == [str(path)]
    assert path.stat().st_size == 100
    assert "0 is a line of a call\n" in path.read_text()


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Limit the size of the files of this process, like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("path", [".", "missing/run.log"])
def test_log_when_not_writable_exits_2(panelica: Command, path: str) -> None:
    outcome = panelica("api", "GET", "/v1/me", *FAST, "--log", path)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert path in outcome.stderr
    assert not Path(".panelica").exists()
