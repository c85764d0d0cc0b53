"""Databases and their users.

In the reference, a database may be created with its first user. On current panels, it always is, and the rows of
`GET /v1/databases` are users, with their ids in `GET /v1/mysql-users` (evidence: databases-list, databases-users).

Guesses: in the reference, names have no prefix, and a name must be unique among databases of its type. On panels, a
user that is created without a database joins the first one of its domain, or gets a new one if there is none; deleting
the primary user deletes its database; a duplicate name is 400.
"""

from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    acknowledgement,
    active_domain,
    check_password,
    check_plan_limit,
    create,
    domain_below_limit,
    get,
    handle_delete,
    handle_get,
    handle_list,
    handle_password_change,
    handles,
    list_rows,
    with_account_prefix,
)
from panelica_async.sandbox.messages import bad_request, duplicate_error, not_found
from panelica_async.sandbox.store import Row, new_id
from panelica_async.sandbox.validation import valid_database_name

_DEFAULT_TYPE = "mysql"
_DEFAULT_PRIVILEGES = "ALL"
_OWNER_ROLE = "dbOwner"
_USER_ROLE = "readWrite"

handle_list("database", "databases.list")
handle_delete("database", "databases.delete", message="Database deleted")
handle_get("database_user", "GET /v1/databases/{id}", "GET /v1/mysql-users/{id}")
handle_password_change("database_user", "POST /v1/mysql-users/{id}/change-password")


@handles("databases.create")
def create_database(call: ApiCall) -> ApiReply:
    """Add the database, and its first user if the body names one."""
    domain, _ = domain_below_limit(call, call.body["domain_id"], "max_databases")
    name = valid_database_name(call.body["name"], "name")
    database = create(call, "database", name=name, type=call.body.get("type", _DEFAULT_TYPE), domain_id=domain["id"])
    if "username" in call.body or "password" in call.body:
        _add_user(call, database)
    return ApiReply(get(call, "database", database["id"]))


@handles("databases.users.create")
def create_user(call: ApiCall) -> ApiReply:
    """Add a user to a database."""
    return ApiReply(_add_user(call, get(call, "database")))


def _add_user(call: ApiCall, database: Row) -> Row:
    """Add the user in the body; the first user of a database is its primary one."""
    for field in ("username", "password"):
        if field not in call.body:
            raise bad_request(f"{field} is required")
    check_password(call)
    return create(
        call,
        "database_user",
        database_id=database["id"],
        username=valid_database_name(call.body["username"], "username"),
        privileges=call.body.get("privileges", _DEFAULT_PRIVILEGES),
        is_primary=database["user_count"] == 0,
    )


@handles("GET /v1/databases", "GET /v1/mysql-users")
def list_users(call: ApiCall) -> ApiReply:
    """Return the users of all databases, or of the databases of one domain."""
    return ApiReply(list_rows(call, "database_user", **call.query))


@handles("POST /v1/databases")
def create_database_with_user(call: ApiCall) -> ApiReply:
    """Add a database with a user of the same name; with a `role`, one more user (evidence: databases-create)."""
    check_password(call)
    if "role" in call.body:
        return _join_or_create_database(call, call.body["role"])
    domain, owner = domain_below_limit(call, call.body["domain_id"], "max_databases")
    name = with_account_prefix(owner, valid_database_name(call.body["username"], "username"))
    return _add_database_with_user(call, domain, name, name, _OWNER_ROLE)


@handles("POST /v1/domains/{id}/databases")
def create_database_in_domain(call: ApiCall) -> ApiReply:
    """Add a database and a user with another name (evidence: databases-create)."""
    check_password(call)
    domain, owner = domain_below_limit(call, call.path["id"], "max_databases")
    database = with_account_prefix(owner, valid_database_name(call.body["database_name"], "database_name"))
    user = with_account_prefix(owner, valid_database_name(call.body["database_user"], "database_user"))
    return _add_database_with_user(call, domain, database, user, _OWNER_ROLE)


@handles("DELETE /v1/domains/{id}/databases")
def delete_database_by_name(call: ApiCall) -> ApiReply:
    """Delete a database of a domain with its users."""
    domain, name = get(call, "domain"), call.query["database_name"]
    sql = "SELECT id FROM databases WHERE domain_id = ? AND name = ?"
    database_id = call.store.value(sql, domain["id"], name)
    if database_id is None:
        raise not_found("database", name)
    call.store.delete("database", database_id)
    return acknowledgement("Database deleted")


@handles("POST /v1/mysql-users")
def create_user_on_panel(call: ApiCall) -> ApiReply:
    """Add a user to the first database of its domain."""
    check_password(call)
    return _join_or_create_database(call, _USER_ROLE)


@handles("DELETE /v1/databases/{id}", "DELETE /v1/mysql-users/{id}")
def delete_user(call: ApiCall) -> ApiReply:
    """Delete a user; if it is the primary one, delete its database with all users."""
    user = get(call, "database_user")
    if user["is_primary"]:
        sql = "SELECT database_id FROM database_users WHERE id = ?"
        call.store.delete("database", call.store.value(sql, user["id"]))
    else:
        call.store.delete("database_user", user["id"])
    return acknowledgement("Database deleted" if "/databases/" in call.endpoint.path else "User deleted")


def _join_or_create_database(call: ApiCall, role: str) -> ApiReply:
    domain, owner = active_domain(call, call.body["domain_id"])
    name = with_account_prefix(owner, valid_database_name(call.body["username"], "username"))
    database_id = call.store.value("SELECT id FROM databases WHERE domain_id = ? ORDER BY rowid", domain["id"])
    if database_id is None:
        check_plan_limit(call, owner, "max_databases")
        return _add_database_with_user(call, domain, name, name, role)
    return _add_user_on_panel(call, database_id, name, role, is_primary=False)


def _add_database_with_user(call: ApiCall, domain: Row, name: str, username: str, role: str) -> ApiReply:
    if call.store.exists("database", name=name):
        raise duplicate_error("database already exists")
    database_id = new_id()
    row = {"id": database_id, "name": name, "type": _DEFAULT_TYPE, "domain_id": domain["id"], "created_at": call.now}
    call.store.insert("database", row)
    return _add_user_on_panel(call, database_id, username, role, is_primary=True)


def _add_user_on_panel(call: ApiCall, database_id: str, name: str, role: str, *, is_primary: bool) -> ApiReply:
    if call.store.exists("database_user", username=name):
        raise duplicate_error("database user already exists")
    columns = {"username": name, "privileges": role, "is_primary": is_primary}
    return ApiReply(create(call, "database_user", database_id=database_id, **columns))
