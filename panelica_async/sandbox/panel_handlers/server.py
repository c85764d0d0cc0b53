"""The server, its services, its traffic and its licence (evidence: server-status, services, bandwidth, license).

Guesses: rows of services are those of the reference; the summary of traffic; what the licence answers; the search.
"""

from typing import Any

from panelica_async.sandbox.handlers import server
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, get, handles, listed
from panelica_async.sandbox.messages import not_found
from panelica_async.sandbox.panel_handlers.accounts import UNLIMITED, limits_of
from panelica_async.sandbox.store import Row, month_of, traffic

_MIB = 1024 * 1024
_PLAN = {"slug": "enterprise", "name": "Enterprise", "status": "active", "expires_at": None}
# The catalogue names two of the 27 features and two of the six quotas.
_FEATURES = ("api_access", "email_support", "waf_modsecurity", "docker")
_QUOTAS = ("max_domains", "max_databases", "max_ftp", "max_email", "max_subdomains", "max_users")

handles("GET /v1/server/services")(server.list_services)
handles("POST /v1/server/services/{name}/start")(server.start_service)
handles("POST /v1/server/services/{name}/stop")(server.stop_service)
handles("POST /v1/server/services/{name}/restart")(server.restart_service)


@handles("GET /v1/server/status")
def status(call: ApiCall) -> ApiReply:  # noqa: ARG001 - of the interface
    """Return that the server is up, which is all that is known of the reply (evidence: server-status)."""
    return ApiReply({"status": "online"})


@handles("GET /v1/bandwidth/accounts/{id}")
def account_traffic(call: ApiCall) -> ApiReply:
    """Return the traffic of an account this month, and how much its plan allows."""
    account = get(call, "account")
    limits = limits_of(call, account["id"])
    allowed = max(0, limits["monthly_bandwidth_mb"] or 0) * _MIB if limits else 0
    used = sum(_traffic(call, domain) for domain in listed(call, "domain", user_id=account["id"]))
    return ApiReply({"bytes_used": used, "bytes_total": allowed, "month": month_of(call.now)})


@handles("GET /v1/bandwidth/domains/{id}")
def domain_traffic(call: ApiCall) -> ApiReply:
    """Return the traffic of a domain this month."""
    used = _traffic(call, get(call, "domain"))
    return ApiReply({"bytes_used": used, "month": month_of(call.now)})


@handles("GET /v1/bandwidth/summary")
def total_traffic(call: ApiCall) -> ApiReply:
    """Return the traffic of all domains this month."""
    used = sum(_traffic(call, domain) for domain in listed(call, "domain"))
    return ApiReply({"bytes_used": used, "month": month_of(call.now)})


@handles("GET /v1/license/status")
def license_status(call: ApiCall) -> ApiReply:  # noqa: ARG001 - of the interface
    """Return that the licence is valid."""
    return ApiReply({"valid": True, "plan": _PLAN["name"], "expires_at": None, "in_grace_period": False})


@handles("GET /v1/license/plan")
def license_plan(call: ApiCall) -> ApiReply:  # noqa: ARG001 - of the interface
    """Return the plan of the licence."""
    return ApiReply(_PLAN)


@handles("GET /v1/license/features")
def license_features(call: ApiCall) -> ApiReply:  # noqa: ARG001 - of the interface
    """Return the features, all of which the licence has."""
    return ApiReply([_feature(name) for name in _FEATURES])


@handles("GET /v1/license/features/{feature}")
def license_feature(call: ApiCall) -> ApiReply:
    """Return one feature."""
    return ApiReply(_feature(_known(call.path["feature"], _FEATURES)))


@handles("GET /v1/license/quotas")
def license_quotas(call: ApiCall) -> ApiReply:  # noqa: ARG001 - of the interface
    """Return the quotas, none of which is limited."""
    return ApiReply([_quota(name) for name in _QUOTAS])


@handles("GET /v1/license/quotas/{resource}")
def license_quota(call: ApiCall) -> ApiReply:
    """Return one quota."""
    return ApiReply(_quota(_known(call.path["resource"], _QUOTAS)))


@handles("GET /v1/search")
def search(call: ApiCall) -> ApiReply:
    """Return accounts, domains and mailboxes whose name contains the text."""
    text = call.query["q"].lower()
    names = {"account": "username", "domain": "domain_name", "email_account": "email"}
    return ApiReply(
        [
            {"type": kind, "id": row["id"], "name": row[name]}
            for kind, name in names.items()
            for row in listed(call, kind)
            if text in row[name].lower()
        ]
    )


def _traffic(call: ApiCall, domain: Row) -> int:
    sql = "SELECT created_at FROM domains WHERE id = ?"
    created_at = int(call.store.value(sql, domain["id"]))
    return sum(traffic(domain["domain_name"], created_at, month_of(call.now), call.now))


def _known(name: str, names: tuple[str, ...]) -> str:
    if name not in names:
        raise not_found("licence", name)
    return name


def _feature(name: str) -> dict[str, Any]:
    return {"feature": name, "enabled": True}


def _quota(name: str) -> dict[str, Any]:
    return {"resource": name, "limit": UNLIMITED}
