"""Mailboxes. Guesses: 1,024 MB by default; addresses in lower case."""

from panelica_async.sandbox import rules
from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    check_password,
    domain_with_room,
    handles,
    listed,
)
from panelica_async.sandbox.store import new_id

MAILBOX_QUOTA_MB = 1024


@handles("email.accounts.list")
def list_mailboxes(call: ApiCall) -> ApiReply:
    """Return all mailboxes, or those of one domain."""
    return ApiReply(listed(call, "email_account"))


@handles("email.accounts.create")
def create_mailbox(call: ApiCall) -> ApiReply:
    """Add a mailbox; a second one of the same address is 409."""
    domain, _ = domain_with_room(call, "max_email_accounts")
    check_password(call)
    mailbox_id = new_id()
    call.store.insert(
        "email_account",
        {
            "id": mailbox_id,
            "email": f"{rules.local_part(call.body['local_part']).lower()}@{domain['domain']}",
            "domain_id": domain["id"],
            "quota_mb": call.body.get("quota_mb", MAILBOX_QUOTA_MB),
            "created_at": call.now,
        },
    )
    return ApiReply(call.store.get("email_account", mailbox_id))


@handles("email.accounts.delete")
def delete_mailbox(call: ApiCall) -> ApiReply:
    """Delete the mailbox."""
    call.store.delete("email_account", call.path["id"])
    return ApiReply()
