"""Databases and their users: on panels, the rows of `GET /v1/databases` are users (evidence: databases-list).

Guesses: a user without a database of its own joins the first database of its domain, and makes one if there is none;
deleting the primary user deletes its database; a taken name is 400.
"""

from panelica_async.sandbox import rules
from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    accepted,
    check_password,
    domain_with_room,
    get,
    handles,
    listed,
    owner_with_room,
    prefixed,
)
from panelica_async.sandbox.messages import not_found, taken
from panelica_async.sandbox.store import Row, new_id

_OWNER_ROLE = "dbOwner"
_USER_ROLE = "readWrite"


@handles("GET /v1/databases")
def list_databases(call: ApiCall) -> ApiReply:
    """Return the users of all databases, or of those of one domain."""
    return ApiReply(listed(call, "database_user", **call.query))


@handles("GET /v1/databases/{id}")
def get_database(call: ApiCall) -> ApiReply:
    """Return a user with the name of its database."""
    return ApiReply(get(call, "database_user"))


@handles("POST /v1/databases")
def create_with_user(call: ApiCall) -> ApiReply:
    """Add a database and its user of the same name, or with `role` one more user (evidence: databases-create)."""
    check_password(call)
    if "role" in call.body:
        return _create_user(call, call.body["role"])
    domain, owner = domain_with_room(call, "max_databases")
    name = rules.database_name(call.body["username"], "username")
    return ApiReply(_add_database(call, domain, prefixed(owner, name), prefixed(owner, name), _OWNER_ROLE))


@handles("DELETE /v1/databases/{id}")
def delete_database(call: ApiCall) -> ApiReply:
    """Delete a user, and its database with all others if it is the primary one."""
    _delete_user(call)
    return accepted("Database deleted")


@handles("POST /v1/domains/{id}/databases")
def create_database(call: ApiCall) -> ApiReply:
    """Add a database and a user with a name of its own (evidence: databases-create)."""
    check_password(call)
    domain = get(call, "domain")
    owner = owner_with_room(call, domain["user_id"], "max_databases")
    database = prefixed(owner, rules.database_name(call.body["database_name"], "database_name"))
    user = prefixed(owner, rules.database_name(call.body["database_user"], "database_user"))
    return ApiReply(_add_database(call, domain, database, user, _OWNER_ROLE))


@handles("DELETE /v1/domains/{id}/databases")
def delete_by_name(call: ApiCall) -> ApiReply:
    """Delete a database of a domain with its users."""
    domain = get(call, "domain")
    name = call.query["database_name"]
    sql = "SELECT id FROM databases WHERE domain_id = ? AND name = ?"
    database_id = call.store.value(sql, domain["id"], name)
    if database_id is None:
        raise not_found("database", name)
    call.store.delete("database", database_id)
    return accepted("Database deleted")


@handles("GET /v1/mysql-users")
def list_users(call: ApiCall) -> ApiReply:
    """Return the users of all databases; the ids are those of `GET /v1/databases` (evidence: databases-users)."""
    return ApiReply(listed(call, "database_user"))


@handles("POST /v1/mysql-users")
def create_user(call: ApiCall) -> ApiReply:
    """Add one more user."""
    check_password(call)
    return _create_user(call, _USER_ROLE)


@handles("GET /v1/mysql-users/{id}")
def get_user(call: ApiCall) -> ApiReply:
    """Return a user."""
    return ApiReply(get(call, "database_user"))


@handles("DELETE /v1/mysql-users/{id}")
def delete_user(call: ApiCall) -> ApiReply:
    """Delete a user."""
    _delete_user(call)
    return accepted("User deleted")


@handles("POST /v1/mysql-users/{id}/change-password")
def change_password(call: ApiCall) -> ApiReply:
    """Set a new password."""
    get(call, "database_user")
    check_password(call)
    return accepted("Password changed")


def _create_user(call: ApiCall, role: str) -> ApiReply:
    domain = get(call, "domain", call.body["domain_id"])
    owner = rules.active_owner(call.store, domain["user_id"])
    name = prefixed(owner, rules.database_name(call.body["username"], "username"))
    database_id = call.store.value("SELECT id FROM databases WHERE domain_id = ? ORDER BY rowid", domain["id"])
    if database_id is None:
        owner_with_room(call, owner["id"], "max_databases")
        return ApiReply(_add_database(call, domain, name, name, role))
    return ApiReply(_add_user(call, database_id, name, role, is_primary=False))


def _add_database(call: ApiCall, domain: Row, name: str, user: str, role: str) -> Row:
    if call.store.value("SELECT 1 FROM databases WHERE name = ?", name) is not None:
        raise taken("database already exists")
    database_id = new_id()
    row = {"id": database_id, "name": name, "type": "mysql", "domain_id": domain["id"], "created_at": call.now}
    call.store.insert("database", row)
    return _add_user(call, database_id, user, role, is_primary=True)


def _add_user(call: ApiCall, database_id: str, name: str, role: str, *, is_primary: bool) -> Row:
    if call.store.value("SELECT 1 FROM database_users WHERE username = ?", name) is not None:
        raise taken("database user already exists")
    user_id = new_id()
    row = {"id": user_id, "database_id": database_id, "username": name, "privileges": role}
    call.store.insert("database_user", {**row, "is_primary": is_primary, "created_at": call.now})
    return get(call, "database_user", user_id)


def _delete_user(call: ApiCall) -> None:
    user = get(call, "database_user")
    if user["is_primary"]:
        sql = "SELECT database_id FROM database_users WHERE id = ?"
        call.store.delete("database", call.store.value(sql, user["id"]))
    else:
        call.store.delete("database_user", user["id"])
