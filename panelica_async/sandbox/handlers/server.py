"""The server, its services, its traffic and its licence (evidence: server-status, services, bandwidth, license).

Guesses: the machine is that of the reference's example; pids count up; the only period of traffic is a month. On
panels: rows of services are those of the reference; the summary of traffic; the replies about the licence; the search.
"""

from typing import Any

from panelica_async.sandbox.handlers.accounts import plan_of_account
from panelica_async.sandbox.handlers.base import (
    UNLIMITED,
    ApiCall,
    ApiReply,
    acknowledgement,
    get,
    handle_list,
    handles,
    list_rows,
)
from panelica_async.sandbox.messages import bad_request, not_found
from panelica_async.sandbox.store import HOSTNAME, Row, month_of, site_traffic, uptime_seconds
from panelica_async.sandbox.validation import one_of

_DISK_GB = 500
_BASE_DISK_GB = 125
# Python's calendar starts here.
_FIRST_MONTH = "0001-01"
_MIB = 1024 * 1024
_PLAN = {"slug": "enterprise", "name": "Enterprise", "status": "active", "expires_at": None}
# The catalogue names two of the 27 features and two of the six quotas.
_FEATURES = ("api_access", "email_support", "waf_modsecurity", "docker")
_QUOTAS = ("max_domains", "max_databases", "max_ftp", "max_email", "max_subdomains", "max_users")

handle_list("service", "server.services.list", "GET /v1/server/services")


@handles("server.status")
def server_status(call: ApiCall) -> ApiReply:
    """Return the state of the server; memory depends on the running services, disk space on the files."""
    running = call.store.value("SELECT count(*) FROM services WHERE status = 'running'")
    memory_mb = 4096 + 128 * running
    disk_gb = _BASE_DISK_GB + call.store.value("SELECT coalesce(sum(size), 0) FROM files") / 1024**3
    return ApiReply(
        {
            "status": "online",
            "hostname": HOSTNAME,
            "os": "Ubuntu 24.04.3 LTS",
            "kernel": "6.8.0-101-generic",
            "uptime_seconds": uptime_seconds(call.store),
            "cpu": {"model": "Intel Xeon E-2288G", "cores": 8, "usage_percent": 0.5 * running},
            "memory": {"total_mb": 32768, "used_mb": memory_mb, "usage_percent": round(memory_mb / 327.68, 1)},
            "disk": {
                "total_gb": _DISK_GB,
                "used_gb": round(disk_gb, 3),
                "usage_percent": round(disk_gb / _DISK_GB * 100, 1),
            },
            "load_average": [0.45, 0.52, 0.48],
        }
    )


@handles("server.services.start", "POST /v1/server/services/{name}/start")
def start_service(call: ApiCall) -> ApiReply:
    """Start a service; a running one keeps running."""
    service = _service(call)
    if service["status"] != "running":
        _start(call)
    return acknowledgement(f"{service['display_name']} is running")


@handles("server.services.stop", "POST /v1/server/services/{name}/stop")
def stop_service(call: ApiCall) -> ApiReply:
    """Stop a service; it then has neither pid nor uptime."""
    service = _service(call)
    call.store.execute(
        "UPDATE services SET status = 'stopped', pid = NULL, started_at = NULL WHERE name = ?", service["name"]
    )
    return acknowledgement(f"{service['display_name']} is stopped")


@handles("server.services.restart", "POST /v1/server/services/{name}/restart")
def restart_service(call: ApiCall) -> ApiReply:
    """Restart a service with a new pid, even if it was stopped."""
    service = _service(call)
    _start(call)
    return acknowledgement(f"{service['display_name']} restarted")


def _service(call: ApiCall) -> Row:
    return call.store.get("service", call.path["name"], key="name")


def _start(call: ApiCall) -> None:
    pid = int(call.store.setting("last_pid") or 2000) + 1
    call.store.set_setting("last_pid", str(pid))
    call.store.execute(
        "UPDATE services SET status = 'running', pid = ?, started_at = ? WHERE name = ?",
        pid,
        call.now,
        call.path["name"],
    )


@handles("bandwidth.get")
def bandwidth(call: ApiCall) -> ApiReply:
    """Return the traffic of every site in a month, by default the current one."""
    one_of(call.query.get("period", "monthly"), ("monthly",), "period")
    month = call.query.get("month", month_of(call.now))
    if month < _FIRST_MONTH:
        raise bad_request(f"month: must be {_FIRST_MONTH} or later")
    domains: list[dict[str, Any]] = []
    for row in call.store.connection.execute("SELECT domain, created_at FROM domains ORDER BY rowid").fetchall():
        received, sent = site_traffic(row["domain"], row["created_at"], month, call.now)
        domains.append({"domain": row["domain"], "bytes_in": received, "bytes_out": sent})
    return ApiReply(
        {
            "total_bytes_in": sum(domain["bytes_in"] for domain in domains),
            "total_bytes_out": sum(domain["bytes_out"] for domain in domains),
            "period": month,
            "domains": domains,
        }
    )


# Current panels


@handles("GET /v1/server/status")
def server_status_on_panel(call: ApiCall) -> ApiReply:  # noqa: ARG001 - part of the interface
    """Return that the server is up; nothing else is known of the reply (evidence: server-status)."""
    return ApiReply({"status": "online"})


@handles("GET /v1/bandwidth/accounts/{id}")
def account_traffic(call: ApiCall) -> ApiReply:
    """Return the traffic of an account this month, and how much its plan allows."""
    account = get(call, "account")
    plan = plan_of_account(call, account["id"])
    allowed = max(0, plan["monthly_bandwidth_mb"] or 0) * _MIB if plan else 0
    used = sum(_domain_traffic(call, domain) for domain in list_rows(call, "domain", user_id=account["id"]))
    return ApiReply({"bytes_used": used, "bytes_total": allowed, "month": month_of(call.now)})


@handles("GET /v1/bandwidth/domains/{id}")
def domain_traffic(call: ApiCall) -> ApiReply:
    """Return the traffic of a domain this month."""
    used = _domain_traffic(call, get(call, "domain"))
    return ApiReply({"bytes_used": used, "month": month_of(call.now)})


@handles("GET /v1/bandwidth/summary")
def total_traffic(call: ApiCall) -> ApiReply:
    """Return the traffic of all domains this month."""
    used = sum(_domain_traffic(call, domain) for domain in list_rows(call, "domain"))
    return ApiReply({"bytes_used": used, "month": month_of(call.now)})


@handles("GET /v1/license/status")
def license_status(call: ApiCall) -> ApiReply:  # noqa: ARG001 - part of the interface
    """Return that the licence is valid."""
    return ApiReply({"valid": True, "plan": _PLAN["name"], "expires_at": None, "in_grace_period": False})


@handles("GET /v1/license/plan")
def license_plan(call: ApiCall) -> ApiReply:  # noqa: ARG001 - part of the interface
    """Return the plan of the licence."""
    return ApiReply(_PLAN)


@handles("GET /v1/license/features")
def license_features(call: ApiCall) -> ApiReply:  # noqa: ARG001 - part of the interface
    """Return the features, all of which the licence has."""
    return ApiReply([_feature(name) for name in _FEATURES])


@handles("GET /v1/license/features/{feature}")
def license_feature(call: ApiCall) -> ApiReply:
    """Return one feature."""
    return ApiReply(_feature(_require_known(call.path["feature"], _FEATURES)))


@handles("GET /v1/license/quotas")
def license_quotas(call: ApiCall) -> ApiReply:  # noqa: ARG001 - part of the interface
    """Return the quotas, none of which is limited."""
    return ApiReply([_quota(name) for name in _QUOTAS])


@handles("GET /v1/license/quotas/{resource}")
def license_quota(call: ApiCall) -> ApiReply:
    """Return one quota."""
    return ApiReply(_quota(_require_known(call.path["resource"], _QUOTAS)))


@handles("GET /v1/search")
def search(call: ApiCall) -> ApiReply:
    """Return accounts, domains and mailboxes whose name contains the text."""
    text = call.query["q"].lower()
    names = {"account": "username", "domain": "domain_name", "email_account": "email"}
    return ApiReply(
        [
            {"type": kind, "id": row["id"], "name": row[name]}
            for kind, name in names.items()
            for row in list_rows(call, kind)
            if text in row[name].lower()
        ]
    )


def _domain_traffic(call: ApiCall, domain: Row) -> int:
    sql = "SELECT created_at FROM domains WHERE id = ?"
    created_at = int(call.store.value(sql, domain["id"]))
    return sum(site_traffic(domain["domain_name"], created_at, month_of(call.now), call.now))


def _require_known(name: str, names: tuple[str, ...]) -> str:
    if name not in names:
        raise not_found("licence", name)
    return name


def _feature(name: str) -> dict[str, Any]:
    return {"feature": name, "enabled": True}


def _quota(name: str) -> dict[str, Any]:
    return {"resource": name, "limit": UNLIMITED}
