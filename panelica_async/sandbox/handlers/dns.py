"""DNS records, and zones at Cloudflare.

Guesses: a new zone has only the records of its name servers; by default, `ttl` is an hour and `priority` is 10; private
addresses are accepted, since the reference's own example uses one; two zones at Cloudflare exist from the start, and a
sync counts the records of the panel's zone of that name and sends nothing.
"""

from panelica_async.sandbox import rules
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted, get, handles, listed
from panelica_async.sandbox.messages import not_found
from panelica_async.sandbox.store import NAME_SERVERS, Row, Store, new_id

# What clients send if their caller passes none (evidence: dns-records).
TTL = 3600
PRIORITY = 10
WITH_PRIORITY = frozenset({"MX", "SRV"})


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
    rules.check_record(call.body["type"], call.body["content"])
    record_id = _add(call.store, zone_id, call.fields("name", "type", "content", "ttl", "priority"))
    return ApiReply(call.store.get("dns_record", record_id))


@handles("dns.records.update")
def update_record(call: ApiCall) -> ApiReply:
    """Change a record; its type stays."""
    record = _record(call)
    changes = call.fields("name", "content", "ttl", "priority")
    rules.check_record(record["type"], str(changes.get("content", record["content"])))
    if record["type"] not in WITH_PRIORITY:
        changes.pop("priority", None)
    call.store.update("dns_record", record["id"], changes)
    return ApiReply(call.store.get("dns_record", record["id"]))


@handles("dns.records.delete")
def delete_record(call: ApiCall) -> ApiReply:
    """Delete a record of its zone."""
    call.store.delete("dns_record", _record(call)["id"])
    return ApiReply()


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
    priority = values.get("priority", PRIORITY) if values["type"] in WITH_PRIORITY else None
    store.insert("dns_record", {"id": record_id, "zone_id": zone_id, "ttl": TTL, **values, "priority": priority})
    return record_id


@handles("cloudflare.zones.list")
def list_cloudflare_zones(call: ApiCall) -> ApiReply:
    """Return all zones."""
    return ApiReply(listed(call, "cloudflare_zone"))


@handles("cloudflare.zones.sync")
def sync_cloudflare_zone(call: ApiCall) -> ApiReply:
    """Record the time of the sync and count the records."""
    zone = get(call, "cloudflare_zone")
    call.store.update("cloudflare_zone", zone["id"], {"synced_at": call.now})
    records = call.store.value(
        "SELECT count(*) FROM dns_records AS r JOIN domains AS d ON d.id = r.zone_id WHERE d.domain = ?", zone["name"]
    )
    return accepted(f"{records} records of {zone['name']} are in sync")
