"""`panelica spec search`: what is found, what is shown of it, and that the lines it prints are right."""

import ast
import inspect
import json
from importlib.resources import files
from operator import attrgetter
from typing import Any

import pytest

from panelica_async import PanelicaClient
from panelica_async.resources.registry import MODULES
from tests.cli.harness import Command

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
def test_every_word_must_be_there(panelica: Command, words: list[str], expected: list[str]) -> None:
    assert names(panelica, *words) == expected


def test_search_without_results_exits_1(panelica: Command) -> None:
    outcome = panelica("spec", "search", "unicorn")
    assert (outcome.code, outcome.stdout) == (1, "")
    assert outcome.stderr == "No operation contains all of these words.\n"
    assert panelica("spec", "search", "unicorn", "--json").json == {"operations": []}


def test_everything_is_found(panelica: Command) -> None:
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
