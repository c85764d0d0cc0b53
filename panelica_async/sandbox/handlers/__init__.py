"""Handlers of the operations, one module for each resource."""

from panelica_async.sandbox.handlers import (
    accounts,
    api_keys,
    backups,
    bandwidth,
    cloudflare,
    databases,
    dns,
    domains,
    email,
    files,
    ftp,
    plans,
    server,
    ssl,
    utility,
    webhooks,
)
from panelica_async.sandbox.handlers.base import HANDLERS

__all__ = [
    "HANDLERS",
    "accounts",
    "api_keys",
    "backups",
    "bandwidth",
    "cloudflare",
    "databases",
    "dns",
    "domains",
    "email",
    "files",
    "ftp",
    "plans",
    "server",
    "ssl",
    "utility",
    "webhooks",
]
