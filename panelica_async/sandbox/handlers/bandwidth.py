"""Traffic of the sites. Guess: the only period is a month."""

from typing import Any

from panelica_async.sandbox import rules
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, handles
from panelica_async.sandbox.messages import bad_request
from panelica_async.sandbox.store import month_of, traffic

# The calendar of the standard library starts here.
_FIRST_MONTH = "0001-01"


@handles("bandwidth.get")
def get(call: ApiCall) -> ApiReply:
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
