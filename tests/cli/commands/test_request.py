"""`panelica api` and `panelica sign`: replies, the signing vectors, and what is shown and hidden."""

import asyncio
import json
import shlex
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from panelica_async.sandbox import Sandbox
from tests.cli.harness import Command

ACCOUNT = {"username": "acme", "email": "office@acme.example", "password": "correct horse 9"}
FILE = json.loads((Path(__file__).parents[2] / "data" / "signing-vectors.json").read_text("utf-8"))
VECTORS: dict[str, dict[str, Any]] = {vector["name"][:2]: vector for vector in FILE["vectors"]}
SECRET = FILE["secret"]
KEY = "pk_test_0123456789abcdef"
# A `+` for a space and `\u` for a letter are spellings the command does not use: it signs the same with its own.
SPELLED = {number: number for number in VECTORS} | {"04": "03", "08": "07"}


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANELICA_API_KEY", KEY)
    monkeypatch.setenv("PANELICA_API_SECRET", SECRET)


def test_api_prints_the_data_of_the_reply(panelica: Command) -> None:
    outcome = panelica("api", "GET", "/v1/accounts", "--sandbox")
    assert (outcome.code, outcome.stderr) == (0, "")
    assert [account["username"] for account in outcome.json] == ["root"]


def test_json_adds_status_and_request_id(panelica: Command) -> None:
    reply = panelica("api", "get", "/v1/accounts", "--sandbox", "--json").json
    assert reply["status"] == 200
    assert reply["request_id"].startswith("req_")
    assert reply["data"][0]["username"] == "root"


def test_embedded_sandbox_keeps_objects_between_runs(panelica: Command) -> None:
    made = panelica("api", "POST", "/v1/accounts", "--data", json.dumps(ACCOUNT), "--sandbox")
    assert made.code == 0
    found = panelica("api", "GET", f"/v1/accounts/{made.json['id']}", "--sandbox")
    assert found.json["email"] == "office@acme.example"
    gone = panelica("api", "DELETE", f"/v1/accounts/{made.json['id']}", "--sandbox")
    assert gone.code == 0
    assert panelica("api", "GET", f"/v1/accounts/{made.json['id']}", "--sandbox").code == 1


def test_query_parameters_may_be_repeated(panelica: Command) -> None:
    outcome = panelica("api", "GET", "/v1/accounts", "-q", "limit=1", "--query", "page=2", "--sandbox")
    assert (outcome.code, outcome.json) == (0, [])


def test_body_from_a_file_and_from_standard_input(panelica: Command, tmp_path: Path) -> None:
    (tmp_path / "account.json").write_text(json.dumps(ACCOUNT))
    assert panelica("api", "POST", "/v1/accounts", "-d", "@account.json", "--sandbox").json["username"] == "acme"
    other = json.dumps(ACCOUNT | {"username": "other", "email": "other@acme.example"})
    assert panelica("api", "POST", "/v1/accounts", "-d", "-", "--sandbox", stdin=other).json["username"] == "other"


def test_api_when_rejected_exits_1_with_hint(panelica: Command) -> None:
    outcome = panelica("api", "GET", "/v1/domains/none", "--sandbox")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert outcome.stderr.startswith("Error: GET /v1/domains/none: 404 NOT_FOUND")
    assert "\nHint: " in outcome.stderr


def test_api_when_rejected_prints_error_as_json(panelica: Command) -> None:
    error = panelica("api", "GET", "/v1/domains/none", "--sandbox", "--json").json["error"]
    assert (error["type"], error["status"], error["code"]) == ("NotFoundError", 404, "NOT_FOUND")
    assert error["hint"]


@pytest.mark.parametrize("command", [("api", "--sandbox"), ("sign",)], ids=["api", "sign"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["GET", "v1/domains"], "path must start with a slash"),
        (["GET", "/api/external/v1/me"], "path must not start with /api/external"),
        (
            ["GET", "/v1/domains?page=2"],
            "must not contain a query or a fragment: pass query parameters as query= or --query",
        ),
        (["GET", "/v1//me"], "must not contain an empty segment"),
        (["FETCH", "/v1/domains"], "method must be one of GET, PUT, DELETE, PATCH, POST, not 'FETCH'"),
        (["GET", "/v1/domains", "-q", "page"], "--query must be NAME=VALUE, not 'page'"),
        (["POST", "/v1/domains", "-d", "{"], "--data must be valid JSON"),
        (["POST", "/v1/domains", "-d", "[" * 100_000], "--data must be valid JSON"),
        (["POST", "/v1/domains", "-d", "@missing.json"], "missing.json: No such file"),
        (["POST", "/v1/domains", "-d", "@latin-1.json"], "latin-1.json must be valid JSON"),
    ],
)
def test_request_when_invalid_exits_2(
    panelica: Command, command: tuple[str, ...], arguments: list[str], message: str
) -> None:
    Path("latin-1.json").write_bytes(b'"\xe4"')
    outcome = panelica(*command, *arguments)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert message in outcome.stderr
    assert SECRET not in outcome.stderr


def test_debug_shows_the_traceback(panelica: Command) -> None:
    assert "Traceback" not in panelica("api", "GET", "/v1/domains/none", "--sandbox").stderr
    assert "Traceback" in panelica("api", "GET", "/v1/domains/none", "--sandbox", "--debug").stderr


def arguments(vector: dict[str, Any]) -> list[str]:
    """Return the arguments of the command for a vector."""
    path, _, query = vector["wire_target"].removeprefix("/api/external").partition("?")
    parameters = [text for name, value in parse_qsl(query) for text in ("--query", f"{name}={value}")]
    is_json = vector["wire_body"].startswith("{")
    return [vector["method"], path, *parameters, *(["--data", vector["wire_body"]] if is_json else [])]


@pytest.mark.parametrize("number", VECTORS)
def test_sign_prints_the_signature_of_every_vector(panelica: Command, number: str) -> None:
    expected = VECTORS[SPELLED[number]]
    command = ("sign", *arguments(VECTORS[number]), "--timestamp", FILE["timestamp"])
    signed = panelica(*command, "--json").json
    assert signed["string_to_sign"] == expected["string_to_sign"]
    assert signed["signature"] == expected["signature"]
    assert signed["headers"] == {
        "X-API-Key": KEY,
        "X-Timestamp": FILE["timestamp"],
        "X-Signature": expected["signature"],
    }
    shown = panelica(*command)
    assert shown.code == 0
    assert f"\nString     {expected['string_to_sign']}\n" in shown.stdout
    assert shown.stdout.endswith(f"\nX-Signature: {expected['signature']}\n")


def test_sign_shows_the_parts_and_the_string(panelica: Command) -> None:
    outcome = panelica("sign", "post", "/v1/accounts", "-d", '{"name": "Ayşe"}', "--timestamp", "1709827200")
    assert outcome.stdout.splitlines()[:7] == [
        "Method     POST",
        "Path       /v1/accounts",
        "Query      none",
        "Timestamp  1709827200",
        'Body       {"name":"Ayşe"}',
        'String     POST/v1/accounts1709827200{"name":"Ayşe"}',
        "           42 bytes",
    ]


def test_sign_when_bytes_are_no_text_escapes_them(panelica: Command) -> None:
    command = ("sign", "DELETE", "/v1/backups/a%FF", "--timestamp", "7")
    assert "String     DELETE/v1/backups/a\\xff7" in panelica(*command).stdout.splitlines()
    assert panelica(*command, "--json").json["string_to_sign"] == "DELETE/v1/backups/a\\xff7"


def test_control_characters_in_a_path_are_refused(panelica: Command) -> None:
    outcome = panelica("sign", "DELETE", "/v1/backups/a%0Ab%00", "--timestamp", "7")
    assert (outcome.code, outcome.stdout) == (2, "")
    assert "path must not contain a control character" in outcome.stderr


def test_body_of_a_delete_is_sent_and_not_signed(panelica: Command) -> None:
    lines = panelica("sign", "DELETE", "/v1/files", "-d", '{"paths":[]}', "--timestamp", "7").stdout.splitlines()
    assert 'Body       {"paths":[]} (sent, not signed)' in lines
    assert "String     DELETE/v1/files7" in lines


def test_sign_reads_the_body_from_standard_input(panelica: Command) -> None:
    assert panelica("sign", "POST", "/v1/x", "-d", "-", "--json", stdin="[1, 2]").json["body"] == "[1,2]"


async def test_curl_command_is_accepted_by_a_panel(panelica: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("curl") is None:
        pytest.skip("the command curl is not there")
    body = json.dumps({"username": "it's", "email": "a@b.example", "password": "p' \"w\\\n"})
    async with Sandbox() as box:
        for name in ("base_url", "api_key", "api_secret"):
            monkeypatch.setenv(f"PANELICA_{name.upper()}", getattr(box, name))
        for request, status in (
            (["GET", "/v1/accounts", "-q", "status=active", "-q", "limit=5"], 200),
            (["POST", "/v1/accounts", "-d", body], 400),
            (["DELETE", "/v1/backups/a b.tar.gz", "-d", "{}"], 404),
        ):
            printed = await asyncio.to_thread(panelica, "sign", *request, "--curl")
            assert box.api_secret not in printed.stdout
            process = await asyncio.create_subprocess_exec(
                *shlex.split(printed.stdout), "--silent", "--fail-with-body", stdout=-3
            )
            await process.wait()
            assert box.requests[-1].status == status


def test_curl_command_is_printed_in_json(panelica: Command) -> None:
    signed = panelica("sign", "GET", "/v1/me", "--curl", "--base-url", "panel.example.com", "--json").json
    assert shlex.split(signed["curl"])[:4] == [
        "curl",
        "--request",
        "GET",
        "https://panel.example.com:8443/api/external/v1/me",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--curl"], "base_url is missing"),
        (["--api-key", SECRET], "swapped"),
        (["--timestamp", "-1"], "--timestamp"),
    ],
)
def test_sign_when_an_option_is_invalid_exits_2(panelica: Command, options: list[str], message: str) -> None:
    outcome = panelica("sign", "GET", "/v1/me", *options)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert message in outcome.stderr
    assert SECRET not in outcome.stderr


@pytest.mark.parametrize("options", [[], ["--json"], ["--debug"], ["--curl", "--base-url", "panel.example.com"]])
def test_secret_is_never_printed(panelica: Command, options: list[str]) -> None:
    outcome = panelica("sign", "GET", "/v1/me", *options)
    assert outcome.code == 0
    assert SECRET not in outcome.stdout + outcome.stderr


def test_without_a_secret_nothing_is_signed(panelica: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PANELICA_API_SECRET")
    outcome = panelica("sign", "GET", "/v1/me")
    assert outcome.code == 2
    assert "the API secret is missing" in outcome.stderr
