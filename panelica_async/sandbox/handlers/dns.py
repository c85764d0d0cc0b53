"""DNS: the zones of domains, whose ids are those of the domains (evidence: dns-zones), and zones at Cloudflare.

On current panels, records are listed and added below the id of their domain, changed and deleted by their own
(evidence: dns-record-paths).

Guesses: a new zone has only the records of its name servers; by default, `ttl` is an hour and `priority` is 10; the
reference accepts private addresses, since its own example uses one; a second record of the same name, type and content
is 409. At Cloudflare, two zones exist from the start and have credentials (evidence: cloudflare, cloudflare-sync-ip);
a sync of the reference counts the records of the panel's zone of that name and sends nothing; what the zones' list and
settings show besides what the catalogue names; ids of their records.
"""

import ipaddress
import secrets
from typing import Any

from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    acknowledgement,
    get,
    handle_delete,
    handle_list,
    handles,
    list_rows,
)
from panelica_async.sandbox.handlers.objects import Owned, add, change, find, objects, remove
from panelica_async.sandbox.messages import bad_request, conflict, not_found, panel_error
from panelica_async.sandbox.store import NAME_SERVERS, Row, Store, new_id, root_id

# What clients send if their caller passes none (evidence: dns-records).
_TTL = 3600
_PRIORITY = 10
_WITH_PRIORITY = frozenset({"MX", "SRV"})
# For examples and tests; Python calls them private.
_DOCUMENTATION = [
    ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]

_CLOUDFLARE_SETTINGS: Row = {
    "security_level": "medium",
    "ssl_mode": "full",
    "always_use_https": "off",
    "development_mode": "off",
}
_AUTOMATIC_TTL = 1

handle_delete("dns_record", "DELETE /v1/dns/records/{id}", done="Record deleted")
handle_list("cloudflare_zone", "cloudflare.zones.list")


def add_default_records(store: Store, zone_id: str) -> None:
    """Add the records of a new zone."""
    for server in NAME_SERVERS:
        _add(store, zone_id, {"name": "@", "type": "NS", "content": server})


@handles("dns.records.list")
def list_records(call: ApiCall) -> ApiReply:
    """Return the records of one zone."""
    return ApiReply(list_rows(call, "dns_record", zone_id=_zone(call)))


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
    return acknowledgement("Record deleted")


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


# Zones of current panels


@handles("GET /v1/dns/zones/{domain_id}")
def get_zone(call: ApiCall) -> ApiReply:
    """Return the zone of a domain."""
    domain = get(call, "domain")
    return ApiReply({"id": domain["id"], "domain_id": domain["id"], "domain_name": domain["domain_name"]})


@handles("GET /v1/dns/zones/{domain_id}/records")
def list_records_on_panel(call: ApiCall) -> ApiReply:
    """Return the records of one zone."""
    domain = get(call, "domain")
    return ApiReply(list_rows(call, "dns_record", _zone_id=domain["id"]))


@handles("POST /v1/dns/zones/{domain_id}/records")
def create_record_on_panel(call: ApiCall) -> ApiReply:
    """Add a record (evidence: dns-records)."""
    zone_id = get(call, "domain")["id"]
    record = {**call.fields("name", "content", "ttl", "priority"), "type": call.body["type"].upper()}
    _check_on_panel(call, zone_id, record)
    return ApiReply(get(call, "dns_record", _add(call.store, zone_id, record)))


@handles("PATCH /v1/dns/records/{id}")
def update_record_on_panel(call: ApiCall) -> ApiReply:
    """Change a record of any zone; its type stays (evidence: dns-record-changes)."""
    record = get(call, "dns_record")
    changes = call.fields("name", "content", "ttl")
    if record["type"] in _WITH_PRIORITY:
        changes.update(call.fields("priority"))
    zone_id = call.store.value("SELECT zone_id FROM dns_records WHERE id = ?", record["id"])
    _check_on_panel(call, zone_id, {**record, **changes})
    call.store.update("dns_record", record["id"], changes)
    return ApiReply(get(call, "dns_record", record["id"]))


def _check_on_panel(call: ApiCall, zone_id: str, record: Row) -> None:
    """Refuse an address that is wrong or private, and a record that the zone already has."""
    kind, content = str(record["type"]), str(record["content"])
    try:
        address = _address(kind, content)
    except ValueError:
        raise panel_error("Invalid record", f"{kind} needs an address of its kind") from None
    if address is not None and address.is_private and not any(address in network for network in _DOCUMENTATION):
        raise panel_error("Invalid record", "private addresses are not allowed")
    sql = "SELECT id FROM dns_records WHERE zone_id = ? AND name = ? AND type = ? AND content = ?"
    same = call.store.value(sql, zone_id, record["name"], kind, content)
    if same not in {None, record.get("id")}:
        raise conflict("record")


# Zones at Cloudflare


@handles("cloudflare.zones.sync")
def sync_cloudflare_zone(call: ApiCall) -> ApiReply:
    """Record the time of the sync and count the records."""
    zone = get(call, "cloudflare_zone")
    call.store.update("cloudflare_zone", zone["id"], {"synced_at": call.now})
    records = call.store.value(
        "SELECT count(*) FROM dns_records AS r JOIN domains AS d ON d.id = r.zone_id WHERE d.domain = ?", zone["name"]
    )
    return acknowledgement(f"{records} records of {zone['name']} are in sync")


@handles("GET /v1/cloudflare/zones")
def list_cloudflare_zones(call: ApiCall) -> ApiReply:
    """Return the zones, and which of them are domains of the panel."""
    zones: list[Row] = call.store.rows("SELECT id, name, status FROM cloudflare_zone")
    return ApiReply(
        [
            {**zone, "panelica_domain_id": call.store.value("SELECT id FROM domains WHERE domain = ?", zone["name"])}
            for zone in zones
        ]
    )


@handles("GET /v1/cloudflare/zones/{zone_id}/dns")
def list_cloudflare_records(call: ApiCall) -> ApiReply:
    """Return the records of a zone."""
    zone = get(call, "cloudflare_zone")
    return ApiReply([item.shown for item in _of_zone(call, "cloudflare_record", zone["id"])])


@handles("POST /v1/cloudflare/zones/{zone_id}/dns")
def create_cloudflare_record(call: ApiCall) -> ApiReply:
    """Add a record."""
    return ApiReply(_add_to_cloudflare(call, get(call, "cloudflare_zone"), _sent_record(call)).shown)


@handles("PUT /v1/cloudflare/zones/{zone_id}/dns/{record_id}")
def update_cloudflare_record(call: ApiCall) -> ApiReply:
    """Replace a record."""
    return ApiReply(change(call, _cloudflare_record(call), **_sent_record(call)).shown)


@handles("DELETE /v1/cloudflare/zones/{zone_id}/dns/{record_id}")
def delete_cloudflare_record(call: ApiCall) -> ApiReply:
    """Delete a record."""
    remove(call, _cloudflare_record(call))
    return acknowledgement("DNS record deleted")


@handles("GET /v1/cloudflare/zones/{zone_id}/settings")
def get_settings(call: ApiCall) -> ApiReply:
    """Return the settings of a zone."""
    zone = get(call, "cloudflare_zone")
    kept = _of_zone(call, "cloudflare_settings", zone["id"])
    return ApiReply({**_CLOUDFLARE_SETTINGS, **(kept[0].shown if kept else {}), "id": zone["id"]})


@handles("POST /v1/cloudflare/zones/{zone_id}/ssl-mode")
def set_ssl_mode(call: ApiCall) -> ApiReply:
    """Choose how Cloudflare speaks to the server."""
    return _change_settings(call, ssl_mode=call.body["mode"])


@handles("POST /v1/cloudflare/zones/{zone_id}/https-redirect")
def set_https_redirect(call: ApiCall) -> ApiReply:
    """Redirect http to https, or not."""
    return _change_settings(call, always_use_https=_switch(call))


@handles("POST /v1/cloudflare/zones/{zone_id}/dev-mode")
def set_dev_mode(call: ApiCall) -> ApiReply:
    """Bypass the cache, or not."""
    return _change_settings(call, development_mode=_switch(call))


@handles("POST /v1/cloudflare/zones/{zone_id}/under-attack")
def set_under_attack(call: ApiCall) -> ApiReply:
    """Challenge all visitors, or not."""
    return _change_settings(call, security_level="under_attack" if call.body["enabled"] else "medium")


@handles("POST /v1/cloudflare/zones/{zone_id}/purge")
def purge(call: ApiCall) -> ApiReply:
    """Purge everything or some files."""
    get(call, "cloudflare_zone")
    if not call.body.get("purge_everything") and not call.body.get("files"):
        raise panel_error("Purge Failed", "either purge_everything or files is needed")
    return acknowledgement("Cache purged")


@handles("POST /v1/cloudflare/zones/{zone_id}/sync-ip")
def sync_ip(call: ApiCall) -> ApiReply:
    """Point the root A record at the server; a new one goes through Cloudflare."""
    zone = get(call, "cloudflare_zone")
    name, address = call.body["zone_name"], call.body["server_ip"]
    records = _of_zone(call, "cloudflare_record", zone["id"])
    root = next((item for item in records if (item.fields["type"], item.fields["name"]) == ("A", name)), None)
    if root is not None:
        change(call, root, content=address)
    else:
        record = {"type": "A", "name": name, "content": address, "ttl": _AUTOMATIC_TTL, "proxied": True}
        _add_to_cloudflare(call, zone, record)
    call.store.update("cloudflare_zone", zone["id"], {"synced_at": call.now})
    return acknowledgement(f"{name} points at {address}")


def _of_zone(call: ApiCall, kind: str, zone_id: str) -> list[Owned]:
    return [item for item in objects(call, kind) if item.fields["_zone_id"] == zone_id]


def _sent_record(call: ApiCall) -> Row:
    """Return the record of the body."""
    return {"ttl": _AUTOMATIC_TTL, "proxied": False, **call.fields("type", "name", "content", "ttl", "proxied")}


def _add_to_cloudflare(call: ApiCall, zone: Row, record: Row) -> Owned:
    fields = {**record, "_zone_id": zone["id"]}
    return add(call, "cloudflare_record", fields, user_id=root_id(call.store), identity=secrets.token_hex(16))


def _cloudflare_record(call: ApiCall) -> Owned:
    """Return the record of the path, which must be in the zone of the path."""
    zone, item = get(call, "cloudflare_zone"), find(call, "cloudflare_record", call.path["record_id"])
    if item.fields["_zone_id"] != zone["id"]:
        raise not_found("record", item.id)
    return item


def _switch(call: ApiCall) -> str:
    return "on" if call.body["enabled"] else "off"


def _change_settings(call: ApiCall, **setting: Any) -> ApiReply:
    zone = get(call, "cloudflare_zone")
    kept = _of_zone(call, "cloudflare_settings", zone["id"])
    if kept:
        change(call, kept[0], **setting)
    else:
        add(call, "cloudflare_settings", {**setting, "_zone_id": zone["id"]}, user_id=root_id(call.store))
    return acknowledgement("Settings of the zone changed")
