"""`panelica spec`: `search` prints lines that call what it finds, `diff` names what differs, `stubs` writes Python."""

import ast
import copy
import inspect
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.resources import files
from operator import attrgetter
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from panelica_async import PanelicaClient
from panelica_async.resources.registry import MODULES
from tests.cli.harness import Command, Process, read_document

Start = Callable[..., Process]

SHIPPED = files("panelica_async").joinpath("panel_endpoints.json")
ENDPOINTS: list[dict[str, Any]] = json.loads(SHIPPED.read_text("utf-8"))


def found(panelica: Command, *words: str) -> list[dict[str, Any]]:
    operations: list[dict[str, Any]] = panelica("spec", "search", *words, "--json").json["operations"]
    return operations


def names(panelica: Command, *words: str) -> list[str]:
    return [operation["id"] for operation in found(panelica, *words)]


def test_method_of_the_client_is_shown_with_its_line(panelica: Command) -> None:
    outcome = panelica("spec", "search", "domains.unsuspend")
    assert outcome.code == 0
    assert outcome.stdout == (
        "domains.unsuspend  Lift the suspension of a domain\n"
        "    POST /v1/domains/{id}/unsuspend  (scope domains:write)\n"
        "    await panel.domains.unsuspend(id)\n"
    )
    assert outcome.stderr == "1 operation found.\n"


def test_both_endpoints_are_shown_when_they_differ(panelica: Command) -> None:
    assert panelica("spec", "search", "dns.records.update").stdout == (
        "dns.records.update  Change a record\n"
        "    published reference: PATCH /v1/dns/zones/{zone_id}/records/{record_id}  (scope dns:write)\n"
        "    current panels:      PATCH /v1/dns/records/{id}  (scope dns:write)\n"
        "    await panel.dns.records.update(zone_id, record_id)\n"
    )


def test_operation_of_current_panels_is_marked(panelica: Command) -> None:
    assert panelica("spec", "search", "cron_jobs.create").stdout == (
        "cron_jobs.create  Create a cron job\n"
        "    POST /v1/cron-jobs  (scope accounts:write)  on current panels only\n"
        "    await panel.cron_jobs.create(domain_id=domain_id, task_name=task_name, command=command)\n"
    )


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("accounts.create", "await panel.accounts.create(username=username, email=email, password=password)"),
        ("mailing_lists.get", "await panel.mailing_lists.get(id)"),
        ("files.trash.stats", "await panel.files.trash.stats(user_id=user_id)"),
        ("files.upload", "await panel.files.upload(file=file, user_id=user_id, target_path=target_path)"),
        ("accounts.sso_login", "await panel.accounts.sso_login(id)"),
        ("metrics.stream", None),
    ],
)
def test_line_calls_the_endpoint(panelica: Command, name: str, line: str | None) -> None:
    [operation] = [operation for operation in found(panelica, name) if operation["id"] == name]
    assert operation["call"] == line


def test_scopes_and_roles_are_shown(panelica: Command) -> None:
    assert "  (scope services:stop or server:write)\n" in panelica("spec", "search", "services.stop").stdout
    assert "  (scope *:*, role ROOT or ADMIN)  on current" in panelica("spec", "search", "sso_login").stdout
    assert "  (no scope)\n" in panelica("spec", "search", "/health").stdout


def test_operation_that_panels_lack_is_marked(panelica: Command) -> None:
    assert panelica("spec", "search", "webhooks.stats").stdout == (
        "webhooks.stats  Get delivery statistics of all webhooks\n"
        "    GET /v1/webhooks/stats  (scope webhooks:read)  in the published reference only\n"
        "    await panel.webhooks.stats()\n"
    )


def test_unknown_body_is_mentioned(panelica: Command) -> None:
    note = "    The fields of its body are not known.\n"
    assert note in panelica("spec", "search", "git.repositories.checkout").stdout
    assert note not in panelica("spec", "search", "accounts.change_password").stdout
    assert note not in panelica("spec", "search", "wordpress.auto_login").stdout


def test_websocket_has_no_line(panelica: Command) -> None:
    assert panelica("spec", "search", "terminal.connect").stdout.endswith(
        "    A WebSocket; the client cannot open it.\n"
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["SSO-Login"], ["accounts.sso_login"]),
        (["mailbox", "password"], ["email.accounts.change_password"]),
        (["two-factor", "verify"], ["two_factor.verify"]),
        (["webhooks.logs"], ["webhooks.logs"]),
        (["patch", "/v1/redirects"], []),
        (["quarantine"], ["antivirus.quarantine.list"]),
    ],
)
def test_search_needs_every_word(panelica: Command, words: list[str], expected: list[str]) -> None:
    assert names(panelica, *words) == expected


def test_search_without_results_exits_1(panelica: Command) -> None:
    outcome = panelica("spec", "search", "unicorn")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert outcome.stderr == "No operation contains all of these words.\n"
    assert panelica("spec", "search", "unicorn", "--json").json == {"operations": []}


def test_empty_search_lists_every_operation(panelica: Command) -> None:
    assert set(names(panelica, ".")) | {"me", "health", "search", "rate_limit", "api_spec", "postman_collection"} == {
        *MODULES,
        *(row["id"] for row in ENDPOINTS),
    }


def test_json_lists_the_found_operations(panelica: Command) -> None:
    [operation] = found(panelica, "cloudflare.zones.sync_ip")
    assert operation == {
        "id": "cloudflare.zones.sync_ip",
        "summary": "Point the root record of a zone at the server",
        "category": "Cloudflare",
        "reference": None,
        "panel": {
            "method": "POST",
            "path": "/v1/cloudflare/zones/{zone_id}/sync-ip",
            "scopes": ["cloudflare:write"],
            "roles": [],
        },
        "is_method": True,
        "call": "await panel.cloudflare.zones.sync_ip(zone_id, zone_name=zone_name, server_ip=server_ip)",
        "note": None,
    }


def test_lines_are_calls_that_the_client_takes(panelica: Command) -> None:
    client = PanelicaClient("panel.example.com", api_key="pk_test_a", api_secret="sk_test_a")
    for operation in found(panelica, "/"):
        if operation["call"] is None:
            continue
        [statement] = ast.parse(operation["call"], mode="exec").body
        assert isinstance(statement, ast.Expr)
        assert isinstance(statement.value, ast.Await)
        call = statement.value.value
        assert isinstance(call, ast.Call)
        method = attrgetter(ast.unparse(call.func).removeprefix("panel."))(client)
        inspect.signature(method).bind(*call.args, **{str(keyword.arg): keyword.value for keyword in call.keywords})
        assert operation["is_method"]
        assert ast.unparse(call.func) == f"panel.{operation['id']}"


def fields(required: dict[str, bool]) -> list[dict[str, Any]]:
    return [{"name": name, "type": "string", "required": needed} for name, needed in required.items()]


def listed(row: dict[str, Any]) -> dict[str, Any]:
    """Return the catalogue entry of a panel that serves an endpoint as this package knows it."""
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
    """A panel with a catalogue of the test's choice."""

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


def test_ten_planted_differences_are_all_named(panelica: Command, panel: Panel) -> None:
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


@pytest.mark.parametrize("content", ["<html>", "[]", "[" * 100_000])
def test_saved_file_when_no_catalogue_is_named(panelica: Command, tmp_path: Path, content: str) -> None:
    (tmp_path / "panel.json").write_text(content)
    outcome = panelica("spec", "diff", "--sandbox", "--against", "panel.json")
    assert outcome.code == 2
    assert outcome.stderr.startswith("Error: panel.json cannot be read as a catalogue: ")


@pytest.mark.parametrize("command", ["diff", "stubs"])
def test_server_without_a_catalogue_is_named(panelica: Command, start: Start, command: str) -> None:
    access = read_document(start("sandbox", "--port", "0", "--json"))
    panel = ("--base-url", access["base_url"], "--api-key", access["api_key"], "--api-secret-file", "secret")
    Path("secret").write_text(access["api_secret"])
    outcome = panelica("spec", command, *panel)
    origin = access["base_url"].removesuffix("/api/external")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert outcome.stderr.startswith(f"Error: {origin} has no catalogue of its endpoints: ")
    assert "run `panelica spec search`" in outcome.stderr
    assert "Hint: Pass --dialect panel" in panelica("spec", command, "--sandbox").stderr


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
    module.unlink()
    assert panelica("spec", "stubs", "--output", str(module), "--json").json["module"] == text == module.read_text()
