"""What an account may have: the limits of its plan, and nothing new while it is suspended.

Guesses: a suspended account or domain takes nothing new; disk space and traffic of a plan are not enforced.
"""

from panelica_async.sandbox.messages import forbidden, not_found
from panelica_async.sandbox.store import Row, Store

_UNLIMITED = -1

# "403 = plan limit" (panel-facts B.5): limit of the plan, and how much an account uses of it.
_USED = {
    "max_domains": "SELECT count(*) FROM domains WHERE user_id = ?",
    "max_databases": "SELECT count(*) FROM databases AS o JOIN domains AS d ON d.id = o.domain_id WHERE d.user_id = ?",
    "max_email_accounts": (
        "SELECT count(*) FROM email_accounts AS o JOIN domains AS d ON d.id = o.domain_id WHERE d.user_id = ?"
    ),
    "max_ftp_accounts": (
        "SELECT count(*) FROM ftp_accounts AS o JOIN domains AS d ON d.id = o.domain_id WHERE d.user_id = ?"
    ),
}


def owner(store: Store, user_id: str) -> Row:
    """Return an account as the view `owner` shows it.

    Raises:
        ApiError: 404, there is no such account.
    """
    found = store.find("owner", user_id)
    if found is None:
        raise not_found("account", user_id)
    return found


def active_owner(store: Store, user_id: str) -> Row:
    """Return an account that is not suspended.

    Raises:
        ApiError: 404, there is no such account; 403, it is suspended.
    """
    found = owner(store, user_id)
    if found["suspended"]:
        raise forbidden(f"the account {found['username']} is suspended", message="Account suspended")
    return found


def owner_with_room(store: Store, user_id: str, limit: str) -> Row:
    """Return an account that may have one more of something.

    Args:
        store: Where the account is.
        user_id: Its id.
        limit: Limit of its plan, such as `max_domains`.

    Raises:
        ApiError: 404, there is no such account; 403, it is suspended or its plan is full.
    """
    found = active_owner(store, user_id)
    allowed = found[limit]
    if allowed not in {None, _UNLIMITED} and store.value(_USED[limit], user_id) >= allowed:
        raise forbidden(f"{limit} is {allowed} in the plan {found['plan_name']}", message="Plan limit reached")
    return found


def domain_with_room(store: Store, domain_id: str, limit: str) -> Row:
    """Return a domain whose owner may have one more of something.

    Raises:
        ApiError: 404, there is no such domain; 403, it or its account is suspended, or the plan is full.
    """
    domain = store.get("domain", domain_id)
    owner_with_room(store, domain["user_id"], limit)
    if domain["status"] == "suspended":
        raise forbidden(f"the domain {domain['domain']} is suspended", message="Domain suspended")
    return domain
