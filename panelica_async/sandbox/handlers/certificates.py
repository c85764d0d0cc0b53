"""Certificates. A domain has one: in the reference, ordering a second is 409 unless the first has expired.

On current panels, a certificate is known by its domain, and there is no list of them (evidence: ssl-by-domain).

Guesses: an order takes 60 s (about a minute, evidence: ssl-issue), a self-signed or custom certificate no time;
certificates are valid for 90 days, self-signed and custom ones for a year. On panels, issuing again renews, and changes
nothing while the work is under way; an uploaded certificate is valid at once.
"""

from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted, get, handle_list, handles
from panelica_async.sandbox.messages import failed
from panelica_async.sandbox.store import Row, Store, new_id

LETS_ENCRYPT, SELF_SIGNED, CUSTOM = "lets_encrypt", "self_signed", "custom"

_DAY = 86400
_ISSUING_SECONDS = {LETS_ENCRYPT: 60, SELF_SIGNED: 0, CUSTOM: 0}
_LIFETIME_SECONDS = {LETS_ENCRYPT: 90 * _DAY, SELF_SIGNED: 365 * _DAY, CUSTOM: 365 * _DAY}
_ISSUERS = {LETS_ENCRYPT: "Let's Encrypt", SELF_SIGNED: "Self-signed", CUSTOM: "Custom"}

handle_list("certificate", "ssl.certificates.list")


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
            "ready_at": now + _ISSUING_SECONDS[kind],
            "valid_from": now + _ISSUING_SECONDS[kind],
            "expires_at": now + _LIFETIME_SECONDS[kind],
        },
    )
    return store.get("certificate", certificate_id)


def _renew(store: Store, certificate: Row) -> Row:
    """Start renewing a certificate and return it."""
    now, kind = store.now(), certificate["type"]
    changes = {"ready_at": now + _ISSUING_SECONDS[kind], "expires_at": now + _LIFETIME_SECONDS[kind]}
    if certificate["status"] == "expired":
        # Until the new one is issued, the site has no valid one.
        changes["valid_from"] = changes["ready_at"]
    store.update("certificate", certificate["id"], changes)
    return store.get("certificate", certificate["id"])


@handles("ssl.certificates.issue")
def issue_certificate(call: ApiCall) -> ApiReply:
    """Order a certificate; it is pending until it is issued by the panel's clock."""
    domain = get(call, "domain", call.body["domain_id"])
    kind = call.body.get("type", LETS_ENCRYPT)
    return ApiReply(order_certificate(call.store, domain["id"], kind, auto_renew=call.body.get("auto_renew", True)))


@handles("ssl.certificates.renew")
def renew_certificate(call: ApiCall) -> ApiReply:
    """Renew a certificate; the site keeps the old one until the new one is issued."""
    return ApiReply(_renew(call.store, get(call, "certificate")))


# Current panels


@handles("GET /v1/ssl/domains/{domain_id}")
def get_certificate(call: ApiCall) -> ApiReply:
    """Return whether the domain has a valid certificate."""
    return ApiReply(get(call, "certificate", key="domain_id"))


@handles("POST /v1/ssl/domains/{domain_id}/issue")
def issue_certificate_on_panel(call: ApiCall) -> ApiReply:
    """Order a certificate: the reply comes at once, the certificate a minute later (evidence: ssl-issue)."""
    certificate = _certificate(call)
    if certificate is None or certificate["status"] == "expired":
        order_certificate(call.store, call.path["domain_id"], LETS_ENCRYPT, auto_renew=True)
    elif certificate["status"] == "active":
        _renew(call.store, certificate)
    return accepted("SSL certificate issuance started")


@handles("POST /v1/ssl/domains/{domain_id}/renew")
def renew_certificate_on_panel(call: ApiCall) -> ApiReply:
    """Renew the certificate that the domain has."""
    certificate = _certificate(call)
    if certificate is None:
        raise failed("Renew Failed", "the domain has no certificate")
    _renew(call.store, certificate)
    return accepted("SSL certificate renewal started")


@handles("POST /v1/ssl/domains/{domain_id}/upload")
def upload_certificate(call: ApiCall) -> ApiReply:
    """Replace the certificate by one of the caller's own."""
    if _certificate(call) is not None:
        call.store.execute("DELETE FROM certificates WHERE domain_id = ?", call.path["domain_id"])
    order_certificate(call.store, call.path["domain_id"], CUSTOM, auto_renew=False)
    return accepted("SSL certificate uploaded")


def _certificate(call: ApiCall) -> Row | None:
    """Return the certificate of the domain in any state."""
    domain = get(call, "domain")
    return call.store.find("certificate", domain["id"], key="domain_id")
