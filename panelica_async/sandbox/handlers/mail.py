"""Mail of a domain: mailboxes, forwarders, autoresponders, DKIM and SPF.

Forwarders and autoresponders are deleted by their own ids (evidence: email-accounts, email-forwarders,
email-autoresponders).

Guesses: a mailbox has 1,024 MB by default; its quota and password can be changed, its address cannot; addresses are in
lower case; a new domain signs its mail; the replies of `…/dkim` and `…/spf`, the field `record`, and the key.
"""

import hashlib
from typing import Any

from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    acknowledgement,
    check_password,
    create,
    domain_below_limit,
    get,
    handle_delete,
    handle_get,
    handle_list,
    handle_password_change,
    handle_update,
    handles,
)
from panelica_async.sandbox.handlers.objects import (
    add_domain_object,
    domain_settings,
    handle_object_delete,
    handle_object_list,
    update_domain_settings,
)
from panelica_async.sandbox.messages import duplicate_error, panel_error, validator_error
from panelica_async.sandbox.store import Row
from panelica_async.sandbox.validation import valid_local_part

_DEFAULT_QUOTA_MB = 1024
_DEFAULT_SPF = "v=spf1 a mx ~all"
_SETTINGS_KIND = "mail_settings"

handle_list("email_account", "email.accounts.list", "GET /v1/email-accounts")
handle_get("email_account", "GET /v1/email-accounts/{id}")
handle_update("email_account", "PATCH /v1/email-accounts/{id}", fields=["quota_mb"])
handle_delete(
    "email_account", "email.accounts.delete", "DELETE /v1/email-accounts/{id}", message="Email account deleted"
)
handle_password_change("email_account", "POST /v1/email-accounts/{id}/change-password")
handle_object_list("forwarder", "GET /v1/domains/{id}/email-forwarders")
handle_object_delete("forwarder", "DELETE /v1/email-forwarders/{id}", message="Forwarder deleted")
handle_object_list("autoresponder", "GET /v1/domains/{id}/email-autoresponders")
handle_object_delete("autoresponder", "DELETE /v1/email-autoresponders/{id}", message="Autoresponder deleted")


@handles("email.accounts.create")
def create_mailbox(call: ApiCall) -> ApiReply:
    """Add a mailbox; a second one of the same address is 409."""
    domain, _ = domain_below_limit(call, call.body["domain_id"], "max_email_accounts")
    check_password(call)
    address = f"{valid_local_part(call.body['local_part']).lower()}@{domain['domain']}"
    return _add_mailbox(call, domain, address)


@handles("POST /v1/email-accounts")
def create_mailbox_on_panel(call: ApiCall) -> ApiReply:
    """Add a mailbox, by its local part or its whole address (evidence: email-create)."""
    domain, _ = domain_below_limit(call, call.body["domain_id"], "max_email_accounts")
    check_password(call)
    address = f"{_local_part(call, domain)}@{domain['domain_name']}"
    if call.store.exists("email_account", email=address):
        raise duplicate_error("email address already exists", error="apiErrors.external.email.createFailed")
    return _add_mailbox(call, domain, address)


def _add_mailbox(call: ApiCall, domain: Row, address: str) -> ApiReply:
    quota = call.body.get("quota_mb") or _DEFAULT_QUOTA_MB
    return ApiReply(create(call, "email_account", email=address, domain_id=domain["id"], quota_mb=quota))


def _local_part(call: ApiCall, domain: Row) -> str:
    """Return the local part, from a local part or a whole address in either field."""
    if not {"username", "email"} & call.body.keys():
        raise validator_error(call.endpoint.operation, [("username", "required")])
    name = call.body.get("email", call.body.get("username", "")).lower()
    if "@" in name:
        name, _, host = name.rpartition("@")
        if host != domain["domain_name"]:
            raise panel_error("apiErrors.external.email.createFailed", "the address is not in this domain")
    return valid_local_part(name)


@handles("POST /v1/domains/{id}/email-forwarders")
def create_forwarder(call: ApiCall) -> ApiReply:
    """Add a forwarder; the reply has other names than the request."""
    fields = {"source_email": call.body["source"], "destination_emails": [call.body["destination"]]}
    return ApiReply(add_domain_object(call, "forwarder", fields).visible_fields)


@handles("POST /v1/domains/{id}/email-autoresponders")
def create_autoresponder(call: ApiCall) -> ApiReply:
    """Add an autoresponder, even for a mailbox of another domain (evidence: email-autoresponders)."""
    mailbox = get(call, "email_account", call.body["email_account_id"])
    fields = {**call.fields("subject", "message"), "email_account": {"id": mailbox["id"], "email": mailbox["email"]}}
    return ApiReply(add_domain_object(call, "autoresponder", fields).visible_fields)


@handles("GET /v1/domains/{id}/email-deliverability")
def get_deliverability(call: ApiCall) -> ApiReply:
    """Return the settings of DKIM and SPF (evidence: email-deliverability)."""
    domain = get(call, "domain")
    return ApiReply({"domain_name": domain["domain_name"], "dkim": _dkim_fields(call), "spf": _spf_fields(call)})


@handles("GET /v1/domains/{id}/dkim")
def get_dkim(call: ApiCall) -> ApiReply:
    """Return the settings of DKIM."""
    return ApiReply(_dkim_fields(call))


@handles("POST /v1/domains/{id}/dkim/enable")
def enable_dkim(call: ApiCall) -> ApiReply:
    """Start signing mail of the domain."""
    update_domain_settings(call, _SETTINGS_KIND, dkim=True)
    return acknowledgement("DKIM enabled")


@handles("POST /v1/domains/{id}/dkim/disable")
def disable_dkim(call: ApiCall) -> ApiReply:
    """Stop signing mail of the domain."""
    update_domain_settings(call, _SETTINGS_KIND, dkim=False)
    return acknowledgement("DKIM disabled")


@handles("GET /v1/domains/{id}/spf")
def get_spf(call: ApiCall) -> ApiReply:
    """Return the settings of SPF."""
    return ApiReply(_spf_fields(call))


@handles("PATCH /v1/domains/{id}/spf")
def update_spf(call: ApiCall) -> ApiReply:
    """Change the SPF record."""
    update_domain_settings(call, _SETTINGS_KIND, **({"spf": call.body["record"]} if "record" in call.body else {}))
    return acknowledgement("SPF updated")


def _dkim_fields(call: ApiCall) -> dict[str, Any]:
    domain = get(call, "domain")
    key = hashlib.sha256(domain["id"].encode()).hexdigest()
    return {
        "enabled": domain_settings(call, _SETTINGS_KIND).get("dkim", True),
        "public_key": f"v=DKIM1; k=rsa; p={key}",
    }


def _spf_fields(call: ApiCall) -> dict[str, Any]:
    record = domain_settings(call, _SETTINGS_KIND).get("spf", _DEFAULT_SPF)
    return {"enabled": bool(record), "record": record}
