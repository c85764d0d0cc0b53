"""What the operations do, one module a resource."""

from panelica_async.sandbox.behaviour import (
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
from panelica_async.sandbox.calls import BEHAVIOURS

__all__ = [
    "BEHAVIOURS",
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
