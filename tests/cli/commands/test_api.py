import json
from pathlib import Path

import pytest

from tests.cli.harness import Command

ACCOUNT = {"username": "acme", "email": "office@acme.example", "password": "correct horse 9"}


def test_prints_the_data_of_the_reply(panelica: Command) -> None:
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["GET", "v1/domains"], "path must start with a slash"),
        (["GET", "/v1/domains?page=2"], "pass query parameters as query= or --query"),
        (["FETCH", "/v1/domains"], "method must be one of GET, PUT, DELETE, PATCH, POST, not 'FETCH'"),
        (["GET", "/v1/domains", "-q", "page"], "--query must be NAME=VALUE, not 'page'"),
        (["POST", "/v1/domains", "-d", "{"], "--data must be valid JSON"),
        (["POST", "/v1/domains", "-d", "@missing.json"], "missing.json: No such file"),
    ],
)
def test_input_when_invalid_exits_2(panelica: Command, arguments: list[str], message: str) -> None:
    outcome = panelica("api", *arguments, "--sandbox")
    assert (outcome.code, outcome.stdout) == (2, "")
    assert message in outcome.stderr


def test_debug_shows_the_traceback(panelica: Command) -> None:
    assert "Traceback" not in panelica("api", "GET", "/v1/domains/none", "--sandbox").stderr
    assert "Traceback" in panelica("api", "GET", "/v1/domains/none", "--sandbox", "--debug").stderr
