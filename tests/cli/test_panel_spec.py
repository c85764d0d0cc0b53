"""`panelica spec diff` names what was planted and nothing else; `panelica spec stubs` writes Python."""

import copy
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.resources import files
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from tests.cli.harness import Command

ENDPOINTS: list[dict[str, Any]] = json.loads(
    files("panelica_async").joinpath("panel_endpoints.json").read_text("utf-8")
)


def fields(required: dict[str, bool]) -> list[dict[str, Any]]:
    return [{"name": name, "type": "string", "required": needed} for name, needed in required.items()]


def listed(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a panel lists about an endpoint that it serves as this package knows it."""
    request: dict[str, Any] = {"query_params": fields(row.get("query", {}))}
    if "json" in row or "form" in row:
        body = row.get("json", row.get("form"))
        request["body"] = {"content_type": "application/json" if body else "none", "fields": fields(body)}
    return {
        "method": row["method"],
        "path": row["path"],
        "summary": row["summary"],
        "auth": {"required": True, "scopes": row["scopes"]},
        "request": request,
    }


class Panel:
    """A panel whose catalogue the test chooses."""

    def __init__(self) -> None:
        self.endpoints: dict[str, dict[str, Any]] = {
            row["id"]: listed(row) for row in ENDPOINTS if row["id"] not in {"api_spec", "postman_collection"}
        }

    @property
    def catalogue(self) -> dict[str, Any]:
        return {"version": "1.0.0", "panel_version": "1.0.999", "endpoints": [*self.endpoints.values()]}

    def plant(self) -> None:
        """Make ten differences."""
        for name in ("robots", "quotas"):
            self.endpoints[name] = {"method": "GET", "path": f"/v1/{name}/{{id}}", "summary": f"Get {name}"}
        for name in ("logs.storage", "cron_jobs.toggle"):
            del self.endpoints[name]
        for name, scopes in (("plans.list", ["plans:read", "x:read"]), ("me", []), ("files.rename", ["files:write2"])):
            self.endpoints[name]["auth"]["scopes"] = scopes
        body = self.endpoints["accounts.change_password"]["request"]["body"]["fields"]
        body.append({"name": "old_password", "required": True})
        self.endpoints["cron_jobs.create"]["request"]["body"]["fields"][0]["required"] = False
        del self.endpoints["files.trash.list"]["request"]["query_params"][1]


@pytest.fixture
def panel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Panel]:
    panel = Panel()

    class Handler(BaseHTTPRequestHandler):
        protocol_version: ClassVar[str] = "HTTP/1.1"

        def do_GET(self) -> None:
            found = self.path.endswith("/v1/api-spec")
            content = json.dumps({"status": "success", "data": panel.catalogue} if found else {"status": "ok"}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("PANELICA_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("PANELICA_API_KEY", "pk_test_1")
        monkeypatch.setenv("PANELICA_API_SECRET", "sk_test_1")
        monkeypatch.setenv("PANELICA_DIALECT", "panel")
        yield panel
        server.shutdown()


def diff(panelica: Command, *arguments: str) -> set[tuple[str, str]]:
    found = panelica("spec", "diff", "--json", *arguments).json["differences"]
    return {(row["kind"], row["operation"] or f"{row['method']} {row['path']}") for row in found}


def test_known_panel_does_not_differ(panelica: Command, panel: Panel) -> None:
    outcome = panelica("spec", "diff")
    assert (outcome.code, outcome.stdout) == (0, "")
    assert "0 differences in" in outcome.stderr


def test_ten_planted_differences_are_the_ten_that_are_named(panelica: Command, panel: Panel) -> None:
    panel.plant()
    outcome = panelica("spec", "diff", "--json")
    assert outcome.code == 1
    assert len(outcome.json["differences"]) == 10
    assert diff(panelica) == {
        ("new", "GET /v1/robots/{id}"),
        ("new", "GET /v1/quotas/{id}"),
        ("gone", "logs.storage"),
        ("gone", "cron_jobs.toggle"),
        ("scope", "plans.list"),
        ("scope", "me"),
        ("scope", "files.rename"),
        ("fields", "accounts.change_password"),
        ("fields", "cron_jobs.create"),
        ("fields", "files.trash.list"),
    }


def test_differences_are_shown_one_a_line(panelica: Command, panel: Panel) -> None:
    panel.plant()
    outcome = panelica("spec", "diff")
    lines = outcome.stdout.splitlines()
    assert outcome.code == 1
    assert len(lines) == 10
    assert "new    GET /v1/robots/{id}  Get robots" in lines
    assert "scope  GET /v1/plans  plans.list: plans:read is now plans:read or x:read" in lines
    assert (
        "fields POST /v1/accounts/{id}/change-password  accounts.change_password: new old_password (required)" in lines
    )


def test_panel_is_compared_with_a_saved_catalogue(panelica: Command, panel: Panel, tmp_path: Path) -> None:
    saved = tmp_path / "panel.json"
    saved.write_text(json.dumps({"status": "success", "data": copy.deepcopy(panel.catalogue)}))
    assert diff(panelica, "--against", str(saved)) == set()
    panel.plant()
    assert len(diff(panelica, "--against", str(saved))) == 10
    saved.write_text("<html>")
    outcome = panelica("spec", "diff", "--against", str(saved))
    assert outcome.code == 2
    assert "cannot be read as a catalogue" in outcome.stderr


def test_embedded_panel_is_known(panelica: Command) -> None:
    assert panelica("spec", "diff", "--sandbox", "--dialect", "panel").code == 0


def test_stubs_are_python_with_the_declared_fields(panelica: Command, panel: Panel, tmp_path: Path) -> None:
    odd = {"name": "class", "type": "string", "enum": ['a"b', "c"]}
    panel.endpoints["git.repositories.create"]["request"]["body"] = {
        "fields": [{"name": "url", "type": "string", "required": True}, {"name": "depth", "type": "integer"}]
    }
    panel.endpoints["git.repositories.create"]["response"] = {"fields": [{"name": "id", "type": "uuid"}]}
    panel.endpoints["robots"] = {
        "method": "POST",
        "path": "/v1/robots/{id}",
        "summary": 'Say """hello"""\\',
        "request": {"body": {"fields": [odd]}},
    }
    module = tmp_path / "panel_fields.py"
    assert panelica("spec", "stubs", "--output", str(module)).code == 0
    text = module.read_text()
    names: dict[str, Any] = {}
    exec(compile(text, str(module), "exec"), names)
    assert names["GitRepositoriesCreate"].__required_keys__ == {"url"}
    assert names["GitRepositoriesCreate"].__optional_keys__ == {"depth"}
    assert names["GitRepositoriesCreateReply"].__annotations__.keys() == {"id"}
    assert names["PostV1RobotsId"].__annotations__.keys() == {"class"}
    assert "class CronJobsCreate(TypedDict):\n" in text
    assert panelica("spec", "stubs").stdout == text
