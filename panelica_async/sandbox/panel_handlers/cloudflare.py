"""Zones at Cloudflare (evidence: cloudflare, cloudflare-sync-ip).

Guesses: the zones exist from the start and have credentials; what the list and the settings show besides what the
catalogue names; ids of records.
"""

import secrets
from typing import Any

from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted
from panelica_async.sandbox.panel_errors import failed, missing
from panelica_async.sandbox.panel_handlers.base import handles
from panelica_async.sandbox.panel_handlers.objects import Owned, add, change, find, objects, remove
from panelica_async.sandbox.seed import root_id
from panelica_async.sandbox.store import Row

_SETTINGS: Row = {
    "security_level": "medium",
    "ssl_mode": "full",
    "always_use_https": "off",
    "development_mode": "off",
}
_AUTOMATIC = 1


@handles("GET /v1/cloudflare/zones")
def list_zones(call: ApiCall) -> ApiReply:
    """Return the zones, and which of them are domains of the panel."""
    zones: list[Row] = call.store.rows("SELECT id, name, status FROM temp.cloudflare_zone")
    return ApiReply(
        [
            {**zone, "panelica_domain_id": call.store.value("SELECT id FROM domains WHERE domain = ?", zone["name"])}
            for zone in zones
        ]
    )


@handles("GET /v1/cloudflare/zones/{zone_id}/dns")
def list_records(call: ApiCall) -> ApiReply:
    """Return the records of a zone."""
    zone = _zone(call)
    return ApiReply([item.shown for item in _of_zone(call, "cloudflare_record", zone["id"])])


@handles("POST /v1/cloudflare/zones/{zone_id}/dns")
def create_record(call: ApiCall) -> ApiReply:
    """Add a record."""
    return ApiReply(_add_record(call, _zone(call), _record(call)).shown)


@handles("PUT /v1/cloudflare/zones/{zone_id}/dns/{record_id}")
def update_record(call: ApiCall) -> ApiReply:
    """Replace a record."""
    return ApiReply(change(call, _found(call), **_record(call)).shown)


@handles("DELETE /v1/cloudflare/zones/{zone_id}/dns/{record_id}")
def delete_record(call: ApiCall) -> ApiReply:
    """Delete a record."""
    remove(call, _found(call))
    return accepted("DNS record deleted")


@handles("GET /v1/cloudflare/zones/{zone_id}/settings")
def get_settings(call: ApiCall) -> ApiReply:
    """Return the settings of a zone."""
    zone = _zone(call)
    kept = _of_zone(call, "cloudflare_settings", zone["id"])
    return ApiReply({**_SETTINGS, **(kept[0].shown if kept else {}), "id": zone["id"]})


@handles("POST /v1/cloudflare/zones/{zone_id}/ssl-mode")
def set_ssl_mode(call: ApiCall) -> ApiReply:
    """Choose how Cloudflare speaks to the server."""
    return _set(call, ssl_mode=call.body["mode"])


@handles("POST /v1/cloudflare/zones/{zone_id}/https-redirect")
def set_https_redirect(call: ApiCall) -> ApiReply:
    """Redirect http to https, or not."""
    return _set(call, always_use_https=_switch(call))


@handles("POST /v1/cloudflare/zones/{zone_id}/dev-mode")
def set_dev_mode(call: ApiCall) -> ApiReply:
    """Bypass the cache, or not."""
    return _set(call, development_mode=_switch(call))


@handles("POST /v1/cloudflare/zones/{zone_id}/under-attack")
def set_under_attack(call: ApiCall) -> ApiReply:
    """Challenge all visitors, or not."""
    return _set(call, security_level="under_attack" if call.body["enabled"] else "medium")


@handles("POST /v1/cloudflare/zones/{zone_id}/purge")
def purge(call: ApiCall) -> ApiReply:
    """Purge everything or some files."""
    _zone(call)
    if not call.body.get("purge_everything") and not call.body.get("files"):
        raise failed("Purge Failed", "either purge_everything or files is needed")
    return accepted("Cache purged")


@handles("POST /v1/cloudflare/zones/{zone_id}/sync-ip")
def sync_ip(call: ApiCall) -> ApiReply:
    """Point the root A record at the server; a new one goes through Cloudflare."""
    zone = _zone(call)
    name, address = call.body["zone_name"], call.body["server_ip"]
    for item in _of_zone(call, "cloudflare_record", zone["id"]):
        if (item.fields["type"], item.fields["name"]) == ("A", name):
            change(call, item, content=address)
            break
    else:
        _add_record(call, zone, {"type": "A", "name": name, "content": address, "ttl": _AUTOMATIC, "proxied": True})
    call.store.update("cloudflare_zone", zone["id"], {"synced_at": call.now})
    return accepted(f"{name} points at {address}")


def _zone(call: ApiCall) -> Row:
    zone = call.store.find("cloudflare_zone", call.path["zone_id"])
    if zone is None:
        raise missing("zone", call.path["zone_id"])
    return zone


def _of_zone(call: ApiCall, kind: str, zone_id: str) -> list[Owned]:
    return [item for item in objects(call, kind) if item.fields["_zone_id"] == zone_id]


def _record(call: ApiCall) -> Row:
    """Return the record of the body."""
    return {"ttl": _AUTOMATIC, "proxied": False, **call.fields("type", "name", "content", "ttl", "proxied")}


def _add_record(call: ApiCall, zone: Row, record: Row) -> Owned:
    fields = {**record, "_zone_id": zone["id"]}
    return add(call, "cloudflare_record", fields, user_id=root_id(call.store), identity=secrets.token_hex(16))


def _found(call: ApiCall) -> Owned:
    zone, item = _zone(call), find(call, "cloudflare_record", call.path["record_id"])
    if item.fields["_zone_id"] != zone["id"]:
        raise missing("record", item.id)
    return item


def _switch(call: ApiCall) -> str:
    return "on" if call.body["enabled"] else "off"


def _set(call: ApiCall, **setting: Any) -> ApiReply:
    zone = _zone(call)
    kept = _of_zone(call, "cloudflare_settings", zone["id"])
    if kept:
        change(call, kept[0], **setting)
    else:
        add(call, "cloudflare_settings", {**setting, "_zone_id": zone["id"]}, user_id=root_id(call.store))
    return accepted("Settings of the zone changed")
