"""The file tree: homes of accounts, directories of domains, and the owner of a path."""

import posixpath

from panelica_async.sandbox.messages import bad_request, forbidden
from panelica_async.sandbox.store import Row, Store

DIRECTORY_PERMISSIONS = "0755"
FILE_PERMISSIONS = "0644"


def home_of(username: str) -> str:
    """Return the home of an account (evidence: files-home)."""
    return f"/home/{username}"


def document_root_of(username: str, domain: str) -> str:
    """Return the directory the web server serves, as in the reference's examples."""
    return f"{home_of(username)}/{domain}/public_html"


def make_home(store: Store, account_id: str, username: str) -> None:
    """Create the home of a new account."""
    make_directory(store, home_of(username), account_id=account_id, parent=None)


def make_site(store: Store, account_id: str, domain_id: str, document_root: str) -> None:
    """Create the directories of a new domain."""
    site = posixpath.dirname(document_root)
    make_directory(store, site, account_id=account_id, domain_id=domain_id, parent=posixpath.dirname(site))
    make_directory(store, document_root, account_id=account_id, domain_id=domain_id, parent=site)


def make_directory(
    store: Store, path: str, *, account_id: str, parent: str | None, domain_id: str | None = None
) -> None:
    """Add a directory to the tree."""
    store.insert(
        "file",
        {
            "path": path,
            "parent": parent,
            "name": posixpath.basename(path),
            "type": "directory",
            "permissions": DIRECTORY_PERMISSIONS,
            "account_id": account_id,
            "domain_id": domain_id,
            "modified_at": store.now(),
        },
    )


def absolute(path: str) -> str:
    """Return a path without dots and double slashes.

    Raises:
        ApiError: 400, the path is not absolute.
    """
    if not path.startswith("/"):
        raise bad_request("path: must be absolute")
    return posixpath.normpath("/" + path.lstrip("/"))


def owner_of(store: Store, path: str) -> Row:
    """Return the account whose home contains a path from `absolute`.

    Raises:
        ApiError: 403, the path is outside every home (evidence: files-home).
    """
    _, top, username, *_ = [*path.split("/"), "", ""]
    owner = store.find("owner", username, key="username") if top == "home" else None
    if owner is None:
        raise forbidden("the path is outside the homes of the accounts", message="Path outside home")
    return owner
