"""Databases and their users. Guesses: no prefix before names; a name may exist once for each type of server."""

from panelica_async.sandbox import rules
from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    check_password,
    domain_with_room,
    handles,
    listed,
)
from panelica_async.sandbox.messages import bad_request
from panelica_async.sandbox.store import new_id

_DEFAULT_TYPE = "mysql"
_DEFAULT_PRIVILEGES = "ALL"


@handles("databases.list")
def list_databases(call: ApiCall) -> ApiReply:
    """Return all databases, or those of one domain."""
    return ApiReply(listed(call, "database"))


@handles("databases.create")
def create_database(call: ApiCall) -> ApiReply:
    """Add the database, and its first user if the body names one."""
    domain, _ = domain_with_room(call, "max_databases")
    database_id = new_id()
    call.store.insert(
        "database",
        {
            "id": database_id,
            "name": rules.database_name(call.body["name"], "name"),
            "type": call.body.get("type", _DEFAULT_TYPE),
            "domain_id": domain["id"],
            "created_at": call.now,
        },
    )
    if "username" in call.body or "password" in call.body:
        _add_user(call, database_id)
    return ApiReply(call.store.get("database", database_id))


@handles("databases.delete")
def delete_database(call: ApiCall) -> ApiReply:
    """Delete the database with its users."""
    call.store.delete("database", call.path["id"])
    return ApiReply()


@handles("databases.users.create")
def create_user(call: ApiCall) -> ApiReply:
    """Add a user to a database."""
    database = call.store.get("database", call.path["db_id"])
    return ApiReply(call.store.get("database_user", _add_user(call, database["id"])))


def _add_user(call: ApiCall, database_id: str) -> str:
    """Add the user that the body describes; the first of a database is its primary one."""
    for field in ("username", "password"):
        if field not in call.body:
            raise bad_request(f"{field} is required")
    check_password(call)
    user_id = new_id()
    call.store.insert(
        "database_user",
        {
            "id": user_id,
            "database_id": database_id,
            "username": rules.database_name(call.body["username"], "username"),
            "privileges": call.body.get("privileges", _DEFAULT_PRIVILEGES),
            "is_primary": call.store.get("database", database_id)["user_count"] == 0,
            "created_at": call.now,
        },
    )
    return user_id
