"""What the key may do, and what it lacks."""

from collections.abc import Iterable
from importlib import import_module
from typing import Final

from panelica_async.core.operation import Operation
from panelica_async.core.redaction import excerpt
from panelica_async.core.scopes import allows
from panelica_async.doctor.findings import Finding, failure, ok, skipped, warning

_NAME = "scopes"
LAUNCH_OPERATIONS: Final = (
    "accounts.list",
    "accounts.create",
    "plans.list",
    "domains.list",
    "domains.create",
    "dns.records.list",
    "dns.records.create",
    "ssl.certificates.list",
    "ssl.certificates.issue",
    "databases.list",
    "databases.create",
    "databases.users.create",
    "email.accounts.list",
    "email.accounts.create",
    "ftp.accounts.list",
    "ftp.accounts.create",
)
"""What a launch of sites calls (`panelica_async.provision`)."""


def check_scopes(granted: Iterable[str] | None, required: Iterable[str]) -> Finding:
    """Compare what a key may do with what launching sites takes, and with what is asked for.

    Args:
        granted: Scopes of the key; None when they are not known.
        required: Scopes that it must have.
    """
    required = tuple(required)
    if granted is None:
        message = "the panel does not tell what the key may do"
        return failure(_NAME, message, "Give the key the scope accounts:read.") if required else skipped(_NAME, message)
    scopes = [excerpt(scope) for scope in granted]
    lacking = _lacking(scopes, required)
    lacking_for_launch = _lacking(scopes, launch_scopes())
    facts = {"granted": scopes, "missing": lacking, "missing_for_launch": lacking_for_launch}
    has = f"the key has {excerpt(', '.join(scopes)) or 'none'}"
    if lacking:
        return failure(_NAME, f"{has}, which is less than required", _add(lacking), **facts)
    if lacking_for_launch:
        hint = f"{_add(lacking_for_launch)} For other work it is fine as it is."
        return warning(_NAME, f"{has}, which is not enough to launch sites", hint, **facts)
    return ok(_NAME, f"{has}, which is enough to launch sites", **facts)


def launch_scopes() -> tuple[str, ...]:
    """Return the scopes that launching sites takes."""
    scopes = dict.fromkeys(map(_scope, LAUNCH_OPERATIONS))
    return tuple(scope for scope in scopes if scope is not None)


def _lacking(granted: list[str], required: Iterable[str]) -> list[str]:
    return [scope for scope in dict.fromkeys(required) if not allows(granted, scope)]


def _add(scopes: list[str]) -> str:
    return f"Add {', '.join(scopes)} to the key in the panel, or use another key."


def _scope(operation: str) -> str | None:
    """Return the scope of an operation; each resource has a module of its first name."""
    module = import_module(f"panelica_async.resources.{operation.partition('.')[0]}")
    return next(
        found.scope for found in vars(module).values() if isinstance(found, Operation) and found.name == operation
    )
