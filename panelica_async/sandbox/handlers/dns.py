"""DNS records. The id of a zone is that of its domain (evidence: dns-zones).

On current panels, records are listed and added below the id of their domain, changed and deleted by their own
(evidence: dns-record-paths).

Guesses: a new zone has only the records of its name servers; by default, `ttl` is an hour and `priority` is 10; the
reference accepts private addresses, since its own example uses one; a second record of the same name, type and content
is 409.
"""

import ipaddress

from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    accepted,
    get,
    handle_delete,
    handles,
    listed,
)
from panelica_async.sandbox.messages import bad_request, conflict, failed, not_found
from panelica_async.sandbox.store import NAME_SERVERS, Row, Store, new_id

# What clients send if their caller passes none (evidence: dns-records).
_TTL = 3600
_PRIORITY = 10
_WITH_PRIORITY = frozenset({"MX", "SRV"})
# For examples and tests; Python calls them private.
_DOCUMENTATION = [
    ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]
_SAME = "SELECT id FROM dns_records WHERE zone_id = ? AND name = ? AND type = ? AND content = ?"

handle_delete("dns_record", "DELETE /v1/dns/records/{id}", done="Record deleted")


def add_default_records(store: Store, zone_id: str) -> None:
    """Add the records of a new zone."""
    for server in NAME_SERVERS:
        _add(store, zone_id, {"name": "@", "type": "NS", "content": server})


@handles("dns.records.list")
def list_records(call: ApiCall) -> ApiReply:
    """Return the records of one zone."""
    return ApiReply(listed(call, "dns_record", zone_id=_zone(call)))


@handles("dns.records.create")
def create_record(call: ApiCall) -> ApiReply:
    """Add a record; a second one of the same name, type and content is 409."""
    zone_id = _zone(call)
    _check_address(call.body["type"], call.body["content"])
    record_id = _add(call.store, zone_id, call.fields("name", "type", "content", "ttl", "priority"))
    return ApiReply(call.store.get("dns_record", record_id))


@handles("dns.records.update")
def update_record(call: ApiCall) -> ApiReply:
    """Change a record; its type stays."""
    record = _record(call)
    changes = call.fields("name", "content", "ttl", "priority")
    _check_address(record["type"], str(changes.get("content", record["content"])))
    if record["type"] not in _WITH_PRIORITY:
        changes.pop("priority", None)
    call.store.update("dns_record", record["id"], changes)
    return ApiReply(call.store.get("dns_record", record["id"]))


@handles("dns.records.delete")
def delete_record(call: ApiCall) -> ApiReply:
    """Delete a record of its zone."""
    call.store.delete("dns_record", _record(call)["id"])
    return accepted("Record deleted")


def _check_address(record_type: str, content: str) -> None:
    try:
        _address(record_type, content)
    except ValueError:
        raise bad_request(f"content: {record_type} needs an address of its kind") from None


def _address(record_type: str, content: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a record holds; None for a type that holds none.

    Raises:
        ValueError: The content is no address of the kind that the type needs.
    """
    match record_type:
        case "A":
            return ipaddress.IPv4Address(content)
        case "AAAA":
            return ipaddress.IPv6Address(content)
        case _:
            return None


def _zone(call: ApiCall) -> str:
    """Return the id of the zone, which is that of its domain."""
    zone_id = call.path["zone_id"]
    if call.store.find("domain", zone_id) is None:
        raise not_found("zone", zone_id)
    return zone_id


def _record(call: ApiCall) -> Row:
    record = call.store.get("dns_record", call.path["record_id"])
    if record["zone_id"] != _zone(call):
        raise not_found("dns_record", record["id"])
    return record


def _add(store: Store, zone_id: str, values: Row) -> str:
    record_id = new_id()
    priority = values.get("priority", _PRIORITY) if values["type"] in _WITH_PRIORITY else None
    store.insert("dns_record", {"id": record_id, "zone_id": zone_id, "ttl": _TTL, **values, "priority": priority})
    return record_id


# Records of current panels


@handles("GET /v1/dns/zones/{domain_id}")
def get_zone(call: ApiCall) -> ApiReply:
    """Return the zone of a domain."""
    domain = get(call, "domain")
    return ApiReply({"id": domain["id"], "domain_id": domain["id"], "domain_name": domain["domain_name"]})


@handles("GET /v1/dns/zones/{domain_id}/records")
def list_records_on_panel(call: ApiCall) -> ApiReply:
    """Return the records of one zone."""
    domain = get(call, "domain")
    return ApiReply(listed(call, "dns_record", _zone_id=domain["id"]))


@handles("POST /v1/dns/zones/{domain_id}/records")
def create_record_on_panel(call: ApiCall) -> ApiReply:
    """Add a record (evidence: dns-records)."""
    zone_id = get(call, "domain")["id"]
    record = {**call.fields("name", "content", "ttl", "priority"), "type": call.body["type"].upper()}
    _check(call, zone_id, record)
    return ApiReply(get(call, "dns_record", _add(call.store, zone_id, record)))


@handles("PATCH /v1/dns/records/{id}")
def update_record_on_panel(call: ApiCall) -> ApiReply:
    """Change a record of any zone; its type stays (evidence: dns-record-changes)."""
    record = get(call, "dns_record")
    changes = call.fields("name", "content", "ttl")
    if record["type"] in _WITH_PRIORITY:
        changes.update(call.fields("priority"))
    zone_id = call.store.value("SELECT zone_id FROM dns_records WHERE id = ?", record["id"])
    _check(call, zone_id, {**record, **changes})
    call.store.update("dns_record", record["id"], changes)
    return ApiReply(get(call, "dns_record", record["id"]))


def _check(call: ApiCall, zone_id: str, record: Row) -> None:
    """Refuse an address that is wrong or private, and a record that the zone already has."""
    kind, content = str(record["type"]), str(record["content"])
    try:
        address = _address(kind, content)
    except ValueError:
        raise failed("Invalid record", f"{kind} needs an address of its kind") from None
    if address is not None and address.is_private and not any(address in network for network in _DOCUMENTATION):
        raise failed("Invalid record", "private addresses are not allowed")
    same = call.store.value(_SAME, zone_id, record["name"], kind, content)
    if same not in {None, record.get("id")}:
        raise conflict("record")
