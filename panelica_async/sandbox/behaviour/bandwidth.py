"""Traffic of the sites. Guess: months are the only period there is."""

from panelica_async.sandbox import checks
from panelica_async.sandbox.calls import Call, Reply, handles
from panelica_async.sandbox.traffic import month_of, traffic


@handles("bandwidth.get")
def get(call: Call) -> Reply:
    """Traffic of every site in a month, the present one unless given."""
    checks.one_of(call.query.get("period", "monthly"), ("monthly",), "period")
    month = call.query.get("month", month_of(call.now))
    domains = []
    for row in call.store.connection.execute("SELECT domain, created_at FROM domains ORDER BY rowid").fetchall():
        received, sent = traffic(row["domain"], row["created_at"], month, call.now)
        domains.append({"domain": row["domain"], "bytes_in": received, "bytes_out": sent})
    return Reply(
        {
            "total_bytes_in": sum(domain["bytes_in"] for domain in domains),
            "total_bytes_out": sum(domain["bytes_out"] for domain in domains),
            "period": month,
            "domains": domains,
        }
    )
