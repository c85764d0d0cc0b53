"""DNS records, and zones at Cloudflare.

Records are listed and added below the id of their domain, changed and deleted by their own (evidence:
dns-record-paths).

Guesses: a second record of the same name, type and content is 409; zones at Cloudflare exist from the start and have
credentials (evidence: cloudflare, cloudflare-sync-ip); what their list and settings show besides what the catalogue
names; ids of their records.
"""

import ipaddress
import secrets
from typing import Any

from panelica_async.sandbox import rules
from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    Owned,
    accepted,
    add,
    change,
    find,
    get,
    handles,
    listed,
    objects,
    remove,
)
from panelica_async.sandbox.handlers.dns import PRIORITY, TTL, WITH_PRIORITY
from panelica_async.sandbox.messages import PanelError, failed, not_found
from panelica_async.sandbox.store import Row, new_id, root_id

# For examples and tests; Python calls them private.
_DOCUMENTATION = [
    ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]
_SAME = "SELECT id FROM dns_records WHERE zone_id = ? AND name = ? AND type = ? AND content = ?"

_CLOUDFLARE_SETTINGS: Row = {
    "security_level": "medium",
    "ssl_mode": "full",
    "always_use_https": "off",
    "development_mode": "off",
}
_AUTOMATIC_TTL = 1


@handles("GET /v1/dns/zones/{domain_id}")
def get_zone(call: ApiCall) -> ApiReply:
    """Return the zone of a domain."""
    domain = get(call, "domain")
    return ApiReply({"id": domain["id"], "domain_id": domain["id"], "domain_name": domain["domain_name"]})


@handles("GET /v1/dns/zones/{domain_id}/records")
def list_records(call: ApiCall) -> ApiReply:
    """Return the records of one zone."""
    domain = get(call, "domain")
    return ApiReply(listed(call, "dns_record", _zone_id=domain["id"]))


@handles("POST /v1/dns/zones/{domain_id}/records")
def create_record(call: ApiCall) -> ApiReply:
    """Add a record (evidence: dns-records)."""
    zone_id = get(call, "domain")["id"]
    record_id, kind = new_id(), call.body["type"].upper()
    row = {"id": record_id, "zone_id": zone_id, "ttl": TTL, **call.fields("name", "content", "ttl"), "type": kind}
    if kind in WITH_PRIORITY:
        row["priority"] = call.body.get("priority", PRIORITY)
    _check(call, row)
    call.store.insert("dns_record", row)
    return ApiReply(get(call, "dns_record", record_id))


@handles("PATCH /v1/dns/records/{id}")
def update_record(call: ApiCall) -> ApiReply:
    """Change a record of any zone; its type stays (evidence: dns-record-changes)."""
    record = get(call, "dns_record")
    changes = call.fields("name", "content", "ttl")
    if record["type"] in WITH_PRIORITY:
        changes.update(call.fields("priority"))
    zone_id = call.store.value("SELECT zone_id FROM dns_records WHERE id = ?", record["id"])
    _check(call, {**record, "zone_id": zone_id, **changes})
    call.store.update("dns_record", record["id"], changes)
    return ApiReply(get(call, "dns_record", record["id"]))


@handles("DELETE /v1/dns/records/{id}")
def delete_record(call: ApiCall) -> ApiReply:
    """Delete a record of any zone."""
    call.store.delete("dns_record", get(call, "dns_record")["id"])
    return accepted("Record deleted")


def _check(call: ApiCall, row: Row) -> None:
    """Refuse an address that is wrong or private, and a record that the zone already has."""
    kind, content = str(row["type"]), str(row["content"])
    try:
        address = rules.record_address(kind, content)
    except ValueError:
        raise failed("Invalid record", f"{kind} needs an address of its kind") from None
    if address is not None and address.is_private and not any(address in network for network in _DOCUMENTATION):
        raise failed("Invalid record", "private addresses are not allowed")
    same = call.store.value(_SAME, row["zone_id"], row["name"], kind, content)
    if same not in {None, row["id"]}:
        raise PanelError(409, error="Record already exists", code="CONFLICT")


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
    zone = _cloudflare_zone(call)
    return ApiReply([item.shown for item in _of_zone(call, "cloudflare_record", zone["id"])])


@handles("POST /v1/cloudflare/zones/{zone_id}/dns")
def create_cloudflare_record(call: ApiCall) -> ApiReply:
    """Add a record."""
    return ApiReply(_add_cloudflare_record(call, _cloudflare_zone(call), _cloudflare_record(call)).shown)


@handles("PUT /v1/cloudflare/zones/{zone_id}/dns/{record_id}")
def update_cloudflare_record(call: ApiCall) -> ApiReply:
    """Replace a record."""
    return ApiReply(change(call, _found_record(call), **_cloudflare_record(call)).shown)


@handles("DELETE /v1/cloudflare/zones/{zone_id}/dns/{record_id}")
def delete_cloudflare_record(call: ApiCall) -> ApiReply:
    """Delete a record."""
    remove(call, _found_record(call))
    return accepted("DNS record deleted")


@handles("GET /v1/cloudflare/zones/{zone_id}/settings")
def get_cloudflare_settings(call: ApiCall) -> ApiReply:
    """Return the settings of a zone."""
    zone = _cloudflare_zone(call)
    kept = _of_zone(call, "cloudflare_settings", zone["id"])
    return ApiReply({**_CLOUDFLARE_SETTINGS, **(kept[0].shown if kept else {}), "id": zone["id"]})


@handles("POST /v1/cloudflare/zones/{zone_id}/ssl-mode")
def set_ssl_mode(call: ApiCall) -> ApiReply:
    """Choose how Cloudflare speaks to the server."""
    return _change_zone_settings(call, ssl_mode=call.body["mode"])


@handles("POST /v1/cloudflare/zones/{zone_id}/https-redirect")
def set_https_redirect(call: ApiCall) -> ApiReply:
    """Redirect http to https, or not."""
    return _change_zone_settings(call, always_use_https=_switch(call))


@handles("POST /v1/cloudflare/zones/{zone_id}/dev-mode")
def set_dev_mode(call: ApiCall) -> ApiReply:
    """Bypass the cache, or not."""
    return _change_zone_settings(call, development_mode=_switch(call))


@handles("POST /v1/cloudflare/zones/{zone_id}/under-attack")
def set_under_attack(call: ApiCall) -> ApiReply:
    """Challenge all visitors, or not."""
    return _change_zone_settings(call, security_level="under_attack" if call.body["enabled"] else "medium")


@handles("POST /v1/cloudflare/zones/{zone_id}/purge")
def purge(call: ApiCall) -> ApiReply:
    """Purge everything or some files."""
    _cloudflare_zone(call)
    if not call.body.get("purge_everything") and not call.body.get("files"):
        raise failed("Purge Failed", "either purge_everything or files is needed")
    return accepted("Cache purged")


@handles("POST /v1/cloudflare/zones/{zone_id}/sync-ip")
def sync_ip(call: ApiCall) -> ApiReply:
    """Point the root A record at the server; a new one goes through Cloudflare."""
    zone = _cloudflare_zone(call)
    name, address = call.body["zone_name"], call.body["server_ip"]
    records = _of_zone(call, "cloudflare_record", zone["id"])
    root = next((item for item in records if (item.fields["type"], item.fields["name"]) == ("A", name)), None)
    if root is not None:
        change(call, root, content=address)
    else:
        record = {"type": "A", "name": name, "content": address, "ttl": _AUTOMATIC_TTL, "proxied": True}
        _add_cloudflare_record(call, zone, record)
    call.store.update("cloudflare_zone", zone["id"], {"synced_at": call.now})
    return accepted(f"{name} points at {address}")


def _cloudflare_zone(call: ApiCall) -> Row:
    return get(call, "cloudflare_zone")


def _of_zone(call: ApiCall, kind: str, zone_id: str) -> list[Owned]:
    return [item for item in objects(call, kind) if item.fields["_zone_id"] == zone_id]


def _cloudflare_record(call: ApiCall) -> Row:
    """Return the record of the body."""
    return {"ttl": _AUTOMATIC_TTL, "proxied": False, **call.fields("type", "name", "content", "ttl", "proxied")}


def _add_cloudflare_record(call: ApiCall, zone: Row, record: Row) -> Owned:
    fields = {**record, "_zone_id": zone["id"]}
    return add(call, "cloudflare_record", fields, user_id=root_id(call.store), identity=secrets.token_hex(16))


def _found_record(call: ApiCall) -> Owned:
    """Return the record of the path, which must be in the zone of the path."""
    zone, item = _cloudflare_zone(call), find(call, "cloudflare_record", call.path["record_id"])
    if item.fields["_zone_id"] != zone["id"]:
        raise not_found("record", item.id)
    return item


def _switch(call: ApiCall) -> str:
    return "on" if call.body["enabled"] else "off"


def _change_zone_settings(call: ApiCall, **setting: Any) -> ApiReply:
    zone = _cloudflare_zone(call)
    kept = _of_zone(call, "cloudflare_settings", zone["id"])
    if kept:
        change(call, kept[0], **setting)
    else:
        add(call, "cloudflare_settings", {**setting, "_zone_id": zone["id"]}, user_id=root_id(call.store))
    return accepted("Settings of the zone changed")
