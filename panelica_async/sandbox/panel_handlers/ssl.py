"""Certificates, by their domain; there is no list of them (evidence: ssl-by-domain).

Guesses: issuing again renews, and changes nothing while the work is under way; an uploaded certificate is valid at
once, for a year.
"""

from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted
from panelica_async.sandbox.handlers.ssl import TYPES, order_certificate, renew_certificate
from panelica_async.sandbox.panel_errors import failed
from panelica_async.sandbox.panel_handlers.base import get, handles
from panelica_async.sandbox.store import Row

_LETS_ENCRYPT: str = TYPES[0]
_CUSTOM: str = TYPES[2]


@handles("GET /v1/ssl/domains/{domain_id}")
def get_certificate(call: ApiCall) -> ApiReply:
    """Return whether the domain has a valid certificate."""
    return ApiReply(get(call, "certificate", call.path["domain_id"], key="domain_id"))


@handles("POST /v1/ssl/domains/{domain_id}/issue")
def issue(call: ApiCall) -> ApiReply:
    """Order a certificate: the reply comes at once, the certificate a minute later (evidence: ssl-issue)."""
    certificate = _certificate(call)
    if certificate is None or certificate["status"] == "expired":
        order_certificate(call.store, call.path["domain_id"], _LETS_ENCRYPT, auto_renew=True)
    elif certificate["status"] == "active":
        renew_certificate(call.store, certificate)
    return accepted("SSL certificate issuance started")


@handles("POST /v1/ssl/domains/{domain_id}/renew")
def renew(call: ApiCall) -> ApiReply:
    """Renew the certificate that the domain has."""
    certificate = _certificate(call)
    if certificate is None:
        raise failed("Renew Failed", "the domain has no certificate")
    renew_certificate(call.store, certificate)
    return accepted("SSL certificate renewal started")


@handles("POST /v1/ssl/domains/{domain_id}/upload")
def upload(call: ApiCall) -> ApiReply:
    """Replace the certificate by one of the caller's own."""
    if _certificate(call) is not None:
        call.store.execute("DELETE FROM certificates WHERE domain_id = ?", call.path["domain_id"])
    order_certificate(call.store, call.path["domain_id"], _CUSTOM, auto_renew=False)
    return accepted("SSL certificate uploaded")


def _certificate(call: ApiCall) -> Row | None:
    """Return the certificate of the domain in any state."""
    domain = get(call, "domain", call.path["domain_id"])
    return call.store.find("certificate", domain["id"], key="domain_id")
