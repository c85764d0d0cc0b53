"""The handlers of both dialects, in a module for each topic; importing this package registers them."""

from panelica_async.sandbox.handlers import (
    accounts,
    api,
    backups,
    certificates,
    databases,
    dns,
    docker,
    domains,
    files,
    ftp,
    mail,
    server,
    webhooks,
    wordpress,
)
from panelica_async.sandbox.handlers.base import HANDLERS

__all__ = [
    "HANDLERS",
    "accounts",
    "api",
    "backups",
    "certificates",
    "databases",
    "dns",
    "docker",
    "domains",
    "files",
    "ftp",
    "mail",
    "server",
    "webhooks",
    "wordpress",
]
