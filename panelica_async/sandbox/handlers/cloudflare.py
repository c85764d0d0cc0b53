"""Zones at Cloudflare, with their records and settings.

Guesses: two zones exist from the start and have credentials (evidence: cloudflare, cloudflare-sync-ip); a sync of the
reference counts the records of the panel's zone of that name and sends nothing; what the zones' list and settings show
besides what the catalogue names; ids of their records.
"""

import secrets
from typing import Any

from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted, get, handle_list, handles
from panelica_async.sandbox.handlers.objects import Owned, add, change, find, objects, remove
from panelica_async.sandbox.messages import failed, not_found
from panelica_async.sandbox.store import Row, root_id

_SETTINGS: Row = {
    "security_level": "medium",
    "ssl_mode": "full",
    "always_use_https": "off",
    "development_mode": "off",
}
_AUTOMATIC_TTL = 1

handle_list("cloudflare_zone", "cloudflare.zones.list")


@handles("cloudflare.zones.sync")
def sync_zone(call: ApiCall) -> ApiReply:
    """Record the time of the sync and count the records."""
    zone = get(call, "cloudflare_zone")
    call.store.update("cloudflare_zone", zone["id"], {"synced_at": call.now})
    records = call.store.value(
        "SELECT count(*) FROM dns_records AS r JOIN domains AS d ON d.id = r.zone_id WHERE d.domain = ?", zone["name"]
    )
    return accepted(f"{records} records of {zone['name']} are in sync")


@handles("GET /v1/cloudflare/zones")
def list_zones(call: ApiCall) -> ApiReply:
    """Return the zones, and which of them are domains of the panel."""
    zones: list[Row] = call.store.rows("SELECT id, name, status FROM cloudflare_zone")
    return ApiReply(
        [
            {**zone, "panelica_domain_id": call.store.value("SELECT id FROM domains WHERE domain = ?", zone["name"])}
            for zone in zones
        ]
    )


@handles("GET /v1/cloudflare/zones/{zone_id}/dns")
def list_records(call: ApiCall) -> ApiReply:
    """Return the records of a zone."""
    zone = get(call, "cloudflare_zone")
    return ApiReply([item.shown for item in _of_zone(call, "cloudflare_record", zone["id"])])


@handles("POST /v1/cloudflare/zones/{zone_id}/dns")
def create_record(call: ApiCall) -> ApiReply:
    """Add a record."""
    return ApiReply(_add_record(call, get(call, "cloudflare_zone"), _sent_record(call)).shown)


@handles("PUT /v1/cloudflare/zones/{zone_id}/dns/{record_id}")
def update_record(call: ApiCall) -> ApiReply:
    """Replace a record."""
    return ApiReply(change(call, _record_in_zone(call), **_sent_record(call)).shown)


@handles("DELETE /v1/cloudflare/zones/{zone_id}/dns/{record_id}")
def delete_record(call: ApiCall) -> ApiReply:
    """Delete a record."""
    remove(call, _record_in_zone(call))
    return accepted("DNS record deleted")


@handles("GET /v1/cloudflare/zones/{zone_id}/settings")
def get_settings(call: ApiCall) -> ApiReply:
    """Return the settings of a zone."""
    zone = get(call, "cloudflare_zone")
    kept = _of_zone(call, "cloudflare_settings", zone["id"])
    return ApiReply({**_SETTINGS, **(kept[0].shown if kept else {}), "id": zone["id"]})


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
        raise failed("Purge Failed", "either purge_everything or files is needed")
    return accepted("Cache purged")


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
        _add_record(call, zone, record)
    call.store.update("cloudflare_zone", zone["id"], {"synced_at": call.now})
    return accepted(f"{name} points at {address}")


def _of_zone(call: ApiCall, kind: str, zone_id: str) -> list[Owned]:
    return [item for item in objects(call, kind) if item.fields["_zone_id"] == zone_id]


def _sent_record(call: ApiCall) -> Row:
    """Return the record of the body."""
    return {"ttl": _AUTOMATIC_TTL, "proxied": False, **call.fields("type", "name", "content", "ttl", "proxied")}


def _add_record(call: ApiCall, zone: Row, record: Row) -> Owned:
    fields = {**record, "_zone_id": zone["id"]}
    return add(call, "cloudflare_record", fields, user_id=root_id(call.store), identity=secrets.token_hex(16))


def _record_in_zone(call: ApiCall) -> Owned:
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
    return accepted("Settings of the zone changed")
