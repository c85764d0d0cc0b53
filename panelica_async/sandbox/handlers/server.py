"""The server, its services, and the traffic of its sites.

Guesses: the machine of the reference's example; pids count up; the only period of traffic is a month.
"""

from typing import Any

from panelica_async.sandbox import rules
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted, handles, listed
from panelica_async.sandbox.messages import bad_request
from panelica_async.sandbox.store import HOSTNAME, Row, month_of, traffic, uptime

_DISK_GB = 500
_BASE_DISK_GB = 125

# The calendar of the standard library starts here.
_FIRST_MONTH = "0001-01"


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
            "uptime_seconds": uptime(call.store),
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


@handles("server.services.list")
def list_services(call: ApiCall) -> ApiReply:
    """Return all services, running or not."""
    return ApiReply(listed(call, "service"))


@handles("server.services.start")
def start_service(call: ApiCall) -> ApiReply:
    """Start a service; a running one keeps running."""
    service = _service(call)
    if service["status"] != "running":
        _start(call)
    return accepted(f"{service['display_name']} is running")


@handles("server.services.stop")
def stop_service(call: ApiCall) -> ApiReply:
    """Stop a service, which then has neither pid nor uptime."""
    service = _service(call)
    call.store.execute(
        "UPDATE services SET status = 'stopped', pid = NULL, started_at = NULL WHERE name = ?", service["name"]
    )
    return accepted(f"{service['display_name']} is stopped")


@handles("server.services.restart")
def restart_service(call: ApiCall) -> ApiReply:
    """Restart a service with a new pid, even if it was stopped."""
    service = _service(call)
    _start(call)
    return accepted(f"{service['display_name']} restarted")


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
    rules.one_of(call.query.get("period", "monthly"), ("monthly",), "period")
    month = call.query.get("month", month_of(call.now))
    if month < _FIRST_MONTH:
        raise bad_request(f"month: must be {_FIRST_MONTH} or later")
    domains: list[dict[str, Any]] = []
    for row in call.store.connection.execute("SELECT domain, created_at FROM domains ORDER BY rowid").fetchall():
        received, sent = traffic(row["domain"], row["created_at"], month, call.now)
        domains.append({"domain": row["domain"], "bytes_in": received, "bytes_out": sent})
    return ApiReply(
        {
            "total_bytes_in": sum(domain["bytes_in"] for domain in domains),
            "total_bytes_out": sum(domain["bytes_out"] for domain in domains),
            "period": month,
            "domains": domains,
        }
    )
