"""Certificates, one for each domain: ordering a second is 409 unless the first has expired.

Guesses: an order takes 60 s (about a minute, evidence: ssl-issue), a self-signed or custom certificate no time;
certificates are valid for 90 days, self-signed and custom ones for a year.
"""

from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, handles, rows
from panelica_async.sandbox.store import Row, Store, new_id

TYPES = ("lets_encrypt", "self_signed", "custom")

_DAY = 86400
_SECONDS = {"lets_encrypt": 60, "self_signed": 0, "custom": 0}
_LIFETIME = {"lets_encrypt": 90 * _DAY, "self_signed": 365 * _DAY, "custom": 365 * _DAY}
_ISSUERS = {"lets_encrypt": "Let's Encrypt", "self_signed": "Self-signed", "custom": "Custom"}


def order_certificate(store: Store, domain_id: str, kind: str, *, auto_renew: bool) -> Row:
    """Start issuing a certificate for a domain and return it.

    Raises:
        ApiError: 409, the domain already has one.
    """
    now = store.now()
    store.execute("DELETE FROM certificates WHERE domain_id = ? AND expires_at <= ?", domain_id, now)
    certificate_id = new_id()
    store.insert(
        "certificate",
        {
            "id": certificate_id,
            "domain_id": domain_id,
            "type": kind,
            "issuer": _ISSUERS[kind],
            "auto_renew": auto_renew,
            "created_at": now,
            "ready_at": now + _SECONDS[kind],
            "valid_from": now + _SECONDS[kind],
            "expires_at": now + _LIFETIME[kind],
        },
    )
    return store.get("certificate", certificate_id)


def renew_certificate(store: Store, certificate: Row) -> Row:
    """Start renewing a certificate and return it."""
    now, kind = store.now(), certificate["type"]
    changes = {"ready_at": now + _SECONDS[kind], "expires_at": now + _LIFETIME[kind]}
    if certificate["status"] == "expired":
        # Until the new one is issued, the site has no valid one.
        changes["valid_from"] = changes["ready_at"]
    store.update("certificate", certificate["id"], changes)
    return store.get("certificate", certificate["id"])


@handles("ssl.certificates.list")
def list_certificates(call: ApiCall) -> ApiReply:
    """Return all certificates in their present state."""
    return ApiReply(rows(call, "certificate"))


@handles("ssl.certificates.issue")
def issue(call: ApiCall) -> ApiReply:
    """Order a certificate; it is pending until it is issued by the panel's clock."""
    domain = call.store.get("domain", call.body["domain_id"])
    kind = call.body.get("type", TYPES[0])
    return ApiReply(order_certificate(call.store, domain["id"], kind, auto_renew=call.body.get("auto_renew", True)))


@handles("ssl.certificates.renew")
def renew(call: ApiCall) -> ApiReply:
    """Renew a certificate; the site keeps the old one until the new one is issued."""
    return ApiReply(renew_certificate(call.store, call.store.get("certificate", call.path["id"])))
