"""Cloudflare zones.

Guesses: two exist from the start; a sync counts the records of the panel's zone of that name and sends nothing.
"""

from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted, handles, rows


@handles("cloudflare.zones.list")
def list_zones(call: ApiCall) -> ApiReply:
    """Return all zones."""
    return ApiReply(rows(call, "cloudflare_zone"))


@handles("cloudflare.zones.sync")
def sync(call: ApiCall) -> ApiReply:
    """Record the time of the sync and count the records."""
    zone = call.store.get("cloudflare_zone", call.path["zone_id"])
    call.store.update("cloudflare_zone", zone["id"], {"synced_at": call.now})
    records = call.store.value(
        "SELECT count(*) FROM dns_records AS r JOIN domains AS d ON d.id = r.zone_id WHERE d.domain = ?", zone["name"]
    )
    return accepted(f"{records} records of {zone['name']} are in sync")
