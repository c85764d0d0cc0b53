"""The handlers of both dialects, in a module for each topic; importing this package registers them."""

from panelica_async.sandbox.handlers import (
    accounts,
    api,
    backups,
    databases,
    dns,
    docker,
    domains,
    files,
    ftp,
    mail,
    server,
    sites,
    webhooks,
)
from panelica_async.sandbox.handlers.base import HANDLERS

__all__ = [
    "HANDLERS",
    "accounts",
    "api",
    "backups",
    "databases",
    "dns",
    "docker",
    "domains",
    "files",
    "ftp",
    "mail",
    "server",
    "sites",
    "webhooks",
]
