"""Mail of a domain: mailboxes, forwarders, autoresponders, DKIM and SPF.

Guesses: a mailbox has 1,024 MB by default; its quota and password can be changed, its address cannot; a new domain
signs its mail; what `…/dkim` and `…/spf` answer, and that SPF is changed by `record`; the key.
"""

import hashlib
from typing import Any

from panelica_async.sandbox import rules
from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    accepted,
    add_to_domain,
    change_settings,
    check_password,
    domain_with_room,
    find,
    get,
    handles,
    listed,
    of_domain,
    remove,
    settings,
    shown,
)
from panelica_async.sandbox.handlers.mail import MAILBOX_QUOTA_MB
from panelica_async.sandbox.messages import failed, invalid, taken
from panelica_async.sandbox.store import Row, new_id

_SPF = "v=spf1 a mx ~all"
_SETTINGS = "mail_settings"


@handles("GET /v1/email-accounts")
def list_mailboxes(call: ApiCall) -> ApiReply:
    """Return all mailboxes (evidence: email-accounts)."""
    return ApiReply(listed(call, "email_account"))


@handles("GET /v1/email-accounts/{id}")
def get_mailbox(call: ApiCall) -> ApiReply:
    """Return one mailbox."""
    return ApiReply(get(call, "email_account"))


@handles("POST /v1/email-accounts")
def create_mailbox(call: ApiCall) -> ApiReply:
    """Add a mailbox, by its local part or its whole address (evidence: email-create)."""
    domain, _ = domain_with_room(call, "max_email_accounts")
    check_password(call)
    address = f"{_local_part(call, domain)}@{domain['domain_name']}"
    if call.store.value("SELECT 1 FROM email_accounts WHERE email = ?", address) is not None:
        raise taken("email address already exists", error="apiErrors.external.email.createFailed")
    mailbox_id = new_id()
    row = {"id": mailbox_id, "email": address, "domain_id": domain["id"], "created_at": call.now}
    call.store.insert("email_account", {**row, "quota_mb": call.body.get("quota_mb") or MAILBOX_QUOTA_MB})
    return ApiReply(get(call, "email_account", mailbox_id))


@handles("PATCH /v1/email-accounts/{id}")
def update_mailbox(call: ApiCall) -> ApiReply:
    """Change the quota."""
    mailbox = get(call, "email_account")
    call.store.update("email_account", mailbox["id"], call.fields("quota_mb"))
    return ApiReply(get(call, "email_account", mailbox["id"]))


@handles("DELETE /v1/email-accounts/{id}")
def delete_mailbox(call: ApiCall) -> ApiReply:
    """Delete the mailbox."""
    call.store.delete("email_account", get(call, "email_account")["id"])
    return accepted("Email account deleted")


@handles("POST /v1/email-accounts/{id}/change-password")
def change_mailbox_password(call: ApiCall) -> ApiReply:
    """Set a new password (evidence: password-changes)."""
    get(call, "email_account")
    check_password(call)
    return accepted("Password changed")


def _local_part(call: ApiCall, domain: Row) -> str:
    if not {"username", "email"} & call.body.keys():
        raise invalid(call.endpoint.operation, [("username", "required")])
    local, at, host = call.body.get("email", call.body.get("username", "")).lower().rpartition("@")
    if at and host != domain["domain_name"]:
        raise failed("apiErrors.external.email.createFailed", "the address is not in this domain")
    return rules.local_part(local if at else host)


@handles("GET /v1/domains/{id}/email-forwarders")
def list_forwarders(call: ApiCall) -> ApiReply:
    """Return the forwarders of the domain (evidence: email-forwarders)."""
    return shown(of_domain(call, "forwarder"))


@handles("POST /v1/domains/{id}/email-forwarders")
def create_forwarder(call: ApiCall) -> ApiReply:
    """Add a forwarder; its row has other names than the request."""
    fields = {"source_email": call.body["source"], "destination_emails": [call.body["destination"]]}
    return ApiReply(add_to_domain(call, "forwarder", fields).shown)


@handles("DELETE /v1/email-forwarders/{id}")
def delete_forwarder(call: ApiCall) -> ApiReply:
    """Delete a forwarder of any domain."""
    remove(call, find(call, "forwarder"))
    return accepted("Forwarder deleted")


@handles("GET /v1/domains/{id}/email-autoresponders")
def list_autoresponders(call: ApiCall) -> ApiReply:
    """Return the autoresponders of the domain (evidence: email-autoresponders)."""
    return shown(of_domain(call, "autoresponder"))


@handles("POST /v1/domains/{id}/email-autoresponders")
def create_autoresponder(call: ApiCall) -> ApiReply:
    """Add an autoresponder, even for a mailbox of another domain (evidence: email-autoresponders)."""
    mailbox = get(call, "email_account", call.body["email_account_id"])
    fields = {**call.fields("subject", "message"), "email_account": {"id": mailbox["id"], "email": mailbox["email"]}}
    return ApiReply(add_to_domain(call, "autoresponder", fields).shown)


@handles("DELETE /v1/email-autoresponders/{id}")
def delete_autoresponder(call: ApiCall) -> ApiReply:
    """Delete an autoresponder of any domain."""
    remove(call, find(call, "autoresponder"))
    return accepted("Autoresponder deleted")


@handles("GET /v1/domains/{id}/email-deliverability")
def deliverability(call: ApiCall) -> ApiReply:
    """Return DKIM and SPF (evidence: email-deliverability)."""
    domain = get(call, "domain")
    return ApiReply({"domain_name": domain["domain_name"], "dkim": _dkim(call), "spf": _spf(call)})


@handles("GET /v1/domains/{id}/dkim")
def get_dkim(call: ApiCall) -> ApiReply:
    """Return DKIM."""
    return ApiReply(_dkim(call))


@handles("POST /v1/domains/{id}/dkim/enable")
def enable_dkim(call: ApiCall) -> ApiReply:
    """Sign mail of the domain."""
    change_settings(call, _SETTINGS, dkim=True)
    return accepted("DKIM enabled")


@handles("POST /v1/domains/{id}/dkim/disable")
def disable_dkim(call: ApiCall) -> ApiReply:
    """Leave mail of the domain unsigned."""
    change_settings(call, _SETTINGS, dkim=False)
    return accepted("DKIM disabled")


@handles("GET /v1/domains/{id}/spf")
def get_spf(call: ApiCall) -> ApiReply:
    """Return SPF."""
    return ApiReply(_spf(call))


@handles("PATCH /v1/domains/{id}/spf")
def update_spf(call: ApiCall) -> ApiReply:
    """Change the SPF record."""
    change_settings(call, _SETTINGS, **({"spf": call.body["record"]} if "record" in call.body else {}))
    return accepted("SPF updated")


def _dkim(call: ApiCall) -> dict[str, Any]:
    domain = get(call, "domain")
    key = hashlib.sha256(domain["id"].encode()).hexdigest()
    return {"enabled": settings(call, _SETTINGS).get("dkim", True), "public_key": f"v=DKIM1; k=rsa; p={key}"}


def _spf(call: ApiCall) -> dict[str, Any]:
    record = settings(call, _SETTINGS).get("spf", _SPF)
    return {"enabled": bool(record), "record": record}
