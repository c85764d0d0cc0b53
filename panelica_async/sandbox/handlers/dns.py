"""DNS: the zones of domains, whose ids are those of the domains (evidence: dns-zones), and zones at Cloudflare.

On current panels, the paths for listing and adding records contain the id of their domain, those for changing and
deleting a record its own id (evidence: dns-record-paths).

Guesses: a new zone has only the records of its name servers; by default, `ttl` is an hour and `priority` is 10; the
reference accepts private addresses, since its own example uses one; a second record of the same name, type and content
is 409. At Cloudflare, two zones exist from the start and have credentials (evidence: cloudflare, cloudflare-sync-ip);
a sync of the reference counts the records of the panel's zone of that name, and sends nothing; fields of zones and
their settings that the catalogue does not name; ids of records.
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
from panelica_async.sandbox.handlers.objects import (
    OwnedObject,
    add_object,
    delete_object,
    get_object,
    list_objects,
    update_object,
)
from panelica_async.sandbox.messages import bad_request, conflict, not_found, panel_error
from panelica_async.sandbox.store import NAME_SERVERS, Row, Store, new_id, root_id

# What clients send if their caller passes none (evidence: dns-records).
_DEFAULT_TTL = 3600
_DEFAULT_PRIORITY = 10
_TYPES_WITH_PRIORITY = frozenset({"MX", "SRV"})
# Reserved for examples and tests; Python calls them private.
_DOCUMENTATION_NETWORKS = [
    ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]

_CLOUDFLARE_SETTINGS: Row = {
    "security_level": "medium",
    "ssl_mode": "full",
    "always_use_https": "off",
    "development_mode": "off",
}
_AUTOMATIC_TTL = 1

handle_delete("dns_record", "DELETE /v1/dns/records/{id}", message="Record deleted")
handle_list("cloudflare_zone", "cloudflare.zones.list")


def add_default_records(store: Store, zone_id: str) -> None:
    """Add the records of a new zone."""
    for server in NAME_SERVERS:
        _add_record(store, zone_id, {"name": "@", "type": "NS", "content": server})


@handles("dns.records.list")
def list_records(call: ApiCall) -> ApiReply:
    """Return the records of one zone."""
    return ApiReply(list_rows(call, "dns_record", zone_id=_zone_id(call)))


@handles("dns.records.create")
def create_record(call: ApiCall) -> ApiReply:
    """Add a record; a second one of the same name, type and content is 409."""
    zone_id = _zone_id(call)
    _check_address(call.body["type"], call.body["content"])
    record_id = _add_record(call.store, zone_id, call.fields("name", "type", "content", "ttl", "priority"))
    return ApiReply(call.store.get("dns_record", record_id))


@handles("dns.records.update")
def update_record(call: ApiCall) -> ApiReply:
    """Change a record; its type stays."""
    record = _get_record(call)
    changes = call.fields("name", "content", "ttl", "priority")
    _check_address(record["type"], str(changes.get("content", record["content"])))
    if record["type"] not in _TYPES_WITH_PRIORITY:
        changes.pop("priority", None)
    call.store.update("dns_record", record["id"], changes)
    return ApiReply(call.store.get("dns_record", record["id"]))


@handles("dns.records.delete")
def delete_record(call: ApiCall) -> ApiReply:
    """Delete a record of its zone."""
    call.store.delete("dns_record", _get_record(call)["id"])
    return acknowledgement("Record deleted")


def _check_address(record_type: str, content: str) -> None:
    """Raise unless an A or AAAA record holds an address of its kind."""
    try:
        _parse_address(record_type, content)
    except ValueError:
        raise bad_request(f"content: {record_type} needs an address of its kind") from None


def _parse_address(record_type: str, content: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address in a record; None if its type holds no address.

    Raises:
        ValueError: The content is not an address of the right kind.
    """
    match record_type:
        case "A":
            return ipaddress.IPv4Address(content)
        case "AAAA":
            return ipaddress.IPv6Address(content)
        case _:
            return None


def _zone_id(call: ApiCall) -> str:
    """Return the id of the zone in the path, which is that of its domain."""
    zone_id = call.path["zone_id"]
    if call.store.find("domain", zone_id) is None:
        raise not_found("zone", zone_id)
    return zone_id


def _get_record(call: ApiCall) -> Row:
    record = call.store.get("dns_record", call.path["record_id"])
    if record["zone_id"] != _zone_id(call):
        raise not_found("dns_record", record["id"])
    return record


def _add_record(store: Store, zone_id: str, values: Row) -> str:
    record_id = new_id()
    priority = values.get("priority", _DEFAULT_PRIORITY) if values["type"] in _TYPES_WITH_PRIORITY else None
    store.insert(
        "dns_record", {"id": record_id, "zone_id": zone_id, "ttl": _DEFAULT_TTL, **values, "priority": priority}
    )
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
    _check_record_on_panel(call, zone_id, record)
    return ApiReply(get(call, "dns_record", _add_record(call.store, zone_id, record)))


@handles("PATCH /v1/dns/records/{id}")
def update_record_on_panel(call: ApiCall) -> ApiReply:
    """Change a record; its type stays (evidence: dns-record-changes)."""
    record = get(call, "dns_record")
    changes = call.fields("name", "content", "ttl")
    if record["type"] in _TYPES_WITH_PRIORITY:
        changes.update(call.fields("priority"))
    zone_id = call.store.value("SELECT zone_id FROM dns_records WHERE id = ?", record["id"])
    _check_record_on_panel(call, zone_id, {**record, **changes})
    call.store.update("dns_record", record["id"], changes)
    return ApiReply(get(call, "dns_record", record["id"]))


def _check_record_on_panel(call: ApiCall, zone_id: str, record: Row) -> None:
    """Refuse an invalid or private address, and a record that the zone already has."""
    record_type, content = str(record["type"]), str(record["content"])
    try:
        address = _parse_address(record_type, content)
    except ValueError:
        raise panel_error("Invalid record", f"{record_type} needs an address of its kind") from None
    if address is not None and _is_private(address):
        raise panel_error("Invalid record", "private addresses are not allowed")
    sql = "SELECT id FROM dns_records WHERE zone_id = ? AND name = ? AND type = ? AND content = ?"
    existing_id = call.store.value(sql, zone_id, record["name"], record_type, content)
    if existing_id not in {None, record.get("id")}:
        raise conflict("record")


def _is_private(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_private and not any(address in network for network in _DOCUMENTATION_NETWORKS)


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
    """Return the zones, with the id of the panel's domain of the same name."""
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
    return ApiReply([item.visible_fields for item in _list_zone_objects(call, "cloudflare_record", zone["id"])])


@handles("POST /v1/cloudflare/zones/{zone_id}/dns")
def create_cloudflare_record(call: ApiCall) -> ApiReply:
    """Add a record."""
    return ApiReply(_add_cloudflare_record(call, get(call, "cloudflare_zone"), _record_from_body(call)).visible_fields)


@handles("PUT /v1/cloudflare/zones/{zone_id}/dns/{record_id}")
def update_cloudflare_record(call: ApiCall) -> ApiReply:
    """Replace a record."""
    return ApiReply(update_object(call, _get_cloudflare_record(call), **_record_from_body(call)).visible_fields)


@handles("DELETE /v1/cloudflare/zones/{zone_id}/dns/{record_id}")
def delete_cloudflare_record(call: ApiCall) -> ApiReply:
    """Delete a record."""
    delete_object(call, _get_cloudflare_record(call))
    return acknowledgement("DNS record deleted")


@handles("GET /v1/cloudflare/zones/{zone_id}/settings")
def get_zone_settings(call: ApiCall) -> ApiReply:
    """Return the settings of a zone."""
    zone = get(call, "cloudflare_zone")
    stored = _list_zone_objects(call, "cloudflare_settings", zone["id"])
    return ApiReply({**_CLOUDFLARE_SETTINGS, **(stored[0].visible_fields if stored else {}), "id": zone["id"]})


@handles("POST /v1/cloudflare/zones/{zone_id}/ssl-mode")
def set_ssl_mode(call: ApiCall) -> ApiReply:
    """Choose how Cloudflare connects to the server."""
    return _update_zone_settings(call, ssl_mode=call.body["mode"])


@handles("POST /v1/cloudflare/zones/{zone_id}/https-redirect")
def set_https_redirect(call: ApiCall) -> ApiReply:
    """Turn the redirect from http to https on or off."""
    return _update_zone_settings(call, always_use_https=_on_or_off(call))


@handles("POST /v1/cloudflare/zones/{zone_id}/dev-mode")
def set_dev_mode(call: ApiCall) -> ApiReply:
    """Turn development mode, which bypasses the cache, on or off."""
    return _update_zone_settings(call, development_mode=_on_or_off(call))


@handles("POST /v1/cloudflare/zones/{zone_id}/under-attack")
def set_under_attack(call: ApiCall) -> ApiReply:
    """Turn the challenge to all visitors on or off."""
    return _update_zone_settings(call, security_level="under_attack" if call.body["enabled"] else "medium")


@handles("POST /v1/cloudflare/zones/{zone_id}/purge")
def purge_cache(call: ApiCall) -> ApiReply:
    """Purge everything or certain files from the cache."""
    get(call, "cloudflare_zone")
    if not call.body.get("purge_everything") and not call.body.get("files"):
        raise panel_error("Purge Failed", "either purge_everything or files is needed")
    return acknowledgement("Cache purged")


@handles("POST /v1/cloudflare/zones/{zone_id}/sync-ip")
def sync_ip(call: ApiCall) -> ApiReply:
    """Point the root A record at the server; if there is none, add one that is proxied."""
    zone = get(call, "cloudflare_zone")
    name, address = call.body["zone_name"], call.body["server_ip"]
    records = _list_zone_objects(call, "cloudflare_record", zone["id"])
    root = next((item for item in records if (item.fields["type"], item.fields["name"]) == ("A", name)), None)
    if root is not None:
        update_object(call, root, content=address)
    else:
        record = {"type": "A", "name": name, "content": address, "ttl": _AUTOMATIC_TTL, "proxied": True}
        _add_cloudflare_record(call, zone, record)
    call.store.update("cloudflare_zone", zone["id"], {"synced_at": call.now})
    return acknowledgement(f"{name} points at {address}")


def _list_zone_objects(call: ApiCall, kind: str, zone_id: str) -> list[OwnedObject]:
    return [item for item in list_objects(call, kind) if item.fields["_zone_id"] == zone_id]


def _record_from_body(call: ApiCall) -> Row:
    """Return the record that the body describes."""
    return {"ttl": _AUTOMATIC_TTL, "proxied": False, **call.fields("type", "name", "content", "ttl", "proxied")}


def _add_cloudflare_record(call: ApiCall, zone: Row, record: Row) -> OwnedObject:
    fields = {**record, "_zone_id": zone["id"]}
    return add_object(call, "cloudflare_record", fields, user_id=root_id(call.store), identifier=secrets.token_hex(16))


def _get_cloudflare_record(call: ApiCall) -> OwnedObject:
    """Return the record in the path, which must belong to the zone in the path."""
    zone, item = get(call, "cloudflare_zone"), get_object(call, "cloudflare_record", call.path["record_id"])
    if item.fields["_zone_id"] != zone["id"]:
        raise not_found("record", item.id)
    return item


def _on_or_off(call: ApiCall) -> str:
    return "on" if call.body["enabled"] else "off"


def _update_zone_settings(call: ApiCall, **setting: Any) -> ApiReply:
    zone = get(call, "cloudflare_zone")
    stored = _list_zone_objects(call, "cloudflare_settings", zone["id"])
    if stored:
        update_object(call, stored[0], **setting)
    else:
        add_object(call, "cloudflare_settings", {**setting, "_zone_id": zone["id"]}, user_id=root_id(call.store))
    return acknowledgement("Settings of the zone changed")
