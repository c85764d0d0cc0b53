"""DNS records.

They are listed and added below the id of their domain, changed and deleted by their own (evidence: dns-record-paths).

Guess: a second record of the same name, type and content is 409.
"""

import ipaddress

from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted
from panelica_async.sandbox.panel_errors import PanelError, failed
from panelica_async.sandbox.panel_handlers.base import get, handles, listed
from panelica_async.sandbox.store import Row, new_id

_TTL = 3600
_PRIORITY = 10
_WITH_PRIORITY = frozenset({"MX", "SRV"})
_ADDRESSES: dict[str, type[ipaddress.IPv4Address | ipaddress.IPv6Address]] = {
    "A": ipaddress.IPv4Address,
    "AAAA": ipaddress.IPv6Address,
}
# For examples and tests; Python calls them private.
_DOCUMENTATION = [
    ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]
_SAME = "SELECT id FROM dns_records WHERE zone_id = ? AND name = ? AND type = ? AND content = ?"


@handles("GET /v1/dns/zones/{domain_id}")
def get_zone(call: ApiCall) -> ApiReply:
    """Return the zone of a domain."""
    domain = get(call, "domain", call.path["domain_id"])
    return ApiReply({"id": domain["id"], "domain_id": domain["id"], "domain_name": domain["domain_name"]})


@handles("GET /v1/dns/zones/{domain_id}/records")
def list_records(call: ApiCall) -> ApiReply:
    """Return the records of one zone."""
    domain = get(call, "domain", call.path["domain_id"])
    return listed(call, "dns_record", _zone_id=domain["id"])


@handles("POST /v1/dns/zones/{domain_id}/records")
def create(call: ApiCall) -> ApiReply:
    """Add a record (evidence: dns-records)."""
    zone_id = get(call, "domain", call.path["domain_id"])["id"]
    record_id, kind = new_id(), call.body["type"].upper()
    row = {"id": record_id, "zone_id": zone_id, "ttl": _TTL, **call.fields("name", "content", "ttl"), "type": kind}
    if kind in _WITH_PRIORITY:
        row["priority"] = call.body.get("priority", _PRIORITY)
    _check(call, row)
    call.store.insert("dns_record", row)
    return ApiReply(get(call, "dns_record", record_id))


@handles("PATCH /v1/dns/records/{id}")
def update(call: ApiCall) -> ApiReply:
    """Change a record of any zone; its type stays (evidence: dns-record-changes)."""
    record = get(call, "dns_record", call.path["id"])
    changes = call.fields("name", "content", "ttl")
    if record["type"] in _WITH_PRIORITY:
        changes.update(call.fields("priority"))
    zone_id = call.store.value("SELECT zone_id FROM dns_records WHERE id = ?", record["id"])
    _check(call, {**record, "zone_id": zone_id, **changes})
    call.store.update("dns_record", record["id"], changes)
    return ApiReply(get(call, "dns_record", record["id"]))


@handles("DELETE /v1/dns/records/{id}")
def delete(call: ApiCall) -> ApiReply:
    """Delete a record of any zone."""
    call.store.delete("dns_record", get(call, "dns_record", call.path["id"])["id"])
    return accepted("Record deleted")


def _check(call: ApiCall, row: Row) -> None:
    """Refuse an address that is wrong or private, and a record that the zone already has."""
    kind, content = str(row["type"]), str(row["content"])
    if kind in _ADDRESSES:
        try:
            address = _ADDRESSES[kind](content)
        except ValueError:
            raise failed("Invalid record", f"{kind} needs an address of its kind") from None
        if address.is_private and not any(address in network for network in _DOCUMENTATION):
            raise failed("Invalid record", "private addresses are not allowed")
    same = call.store.value(_SAME, row["zone_id"], row["name"], kind, content)
    if same not in {None, row["id"]}:
        raise PanelError(409, error="Record already exists", code="CONFLICT")
