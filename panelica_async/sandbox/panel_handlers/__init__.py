"""Registers the handlers of current panels, a module for each topic; `handlers` has those of the reference."""

from panelica_async.sandbox.handlers.base import HANDLERS
from panelica_async.sandbox.panel_handlers import (
    accounts,
    api,
    apps,
    backups,
    databases,
    dns,
    docker,
    domains,
    files,
    mail,
    server,
)

__all__ = [
    "HANDLERS",
    "accounts",
    "api",
    "apps",
    "backups",
    "databases",
    "dns",
    "docker",
    "domains",
    "files",
    "mail",
    "server",
]
