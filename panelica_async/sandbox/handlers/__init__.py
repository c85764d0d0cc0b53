"""The handlers of both dialects, in a module for each topic; importing this package registers them."""

from panelica_async.sandbox.handlers import (
    accounts,
    api,
    apps,
    backups,
    certificates,
    databases,
    descriptions,
    dns,
    docker,
    domains,
    files,
    ftp,
    mail,
    plans,
    server,
)
from panelica_async.sandbox.handlers.base import HANDLERS

__all__ = [
    "HANDLERS",
    "accounts",
    "api",
    "apps",
    "backups",
    "certificates",
    "databases",
    "descriptions",
    "dns",
    "docker",
    "domains",
    "files",
    "ftp",
    "mail",
    "plans",
    "server",
]
