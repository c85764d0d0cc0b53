"""Mailboxes. Guesses: 1,024 MB by default; a password and a quota can be changed, the address cannot."""

from panelica_async.sandbox import rules
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted
from panelica_async.sandbox.panel_errors import failed, invalid, taken
from panelica_async.sandbox.panel_handlers.base import check_password, domain_with_room, get, handles, listed
from panelica_async.sandbox.store import Row, new_id

_QUOTA_MB = 1024


@handles("GET /v1/email-accounts")
def list_mailboxes(call: ApiCall) -> ApiReply:
    """Return all mailboxes (evidence: email-accounts)."""
    return listed(call, "email_account")


@handles("GET /v1/email-accounts/{id}")
def get_mailbox(call: ApiCall) -> ApiReply:
    """Return one mailbox."""
    return ApiReply(get(call, "email_account", call.path["id"]))


@handles("POST /v1/email-accounts")
def create(call: ApiCall) -> ApiReply:
    """Add a mailbox, by its local part or its whole address (evidence: email-create)."""
    domain, _ = domain_with_room(call, "max_email_accounts")
    check_password(call)
    address = f"{_local_part(call, domain)}@{domain['domain_name']}"
    if call.store.value("SELECT 1 FROM email_accounts WHERE email = ?", address) is not None:
        raise taken("email address already exists", error="apiErrors.external.email.createFailed")
    mailbox_id = new_id()
    row = {"id": mailbox_id, "email": address, "domain_id": domain["id"], "created_at": call.now}
    call.store.insert("email_account", {**row, "quota_mb": call.body.get("quota_mb") or _QUOTA_MB})
    return ApiReply(get(call, "email_account", mailbox_id))


@handles("PATCH /v1/email-accounts/{id}")
def update(call: ApiCall) -> ApiReply:
    """Change the quota."""
    mailbox = get(call, "email_account", call.path["id"])
    call.store.update("email_account", mailbox["id"], call.fields("quota_mb"))
    return ApiReply(get(call, "email_account", mailbox["id"]))


@handles("DELETE /v1/email-accounts/{id}")
def delete(call: ApiCall) -> ApiReply:
    """Delete the mailbox."""
    call.store.delete("email_account", get(call, "email_account", call.path["id"])["id"])
    return accepted("Email account deleted")


@handles("POST /v1/email-accounts/{id}/change-password")
def change_password(call: ApiCall) -> ApiReply:
    """Set a new password (evidence: password-changes)."""
    get(call, "email_account", call.path["id"])
    check_password(call)
    return accepted("Password changed")


def _local_part(call: ApiCall, domain: Row) -> str:
    if not {"username", "email"} & call.body.keys():
        raise invalid(call.endpoint.operation, [("username", "required")])
    local, at, host = call.body.get("email", call.body.get("username", "")).lower().rpartition("@")
    if at and host != domain["domain_name"]:
        raise failed("apiErrors.external.email.createFailed", "the address is not in this domain")
    return rules.local_part(local if at else host)
