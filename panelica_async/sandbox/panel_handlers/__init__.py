"""Handlers of the endpoints of current panels, one module for each category."""

from panelica_async.sandbox.panel_handlers import (
    accounts,
    api_keys,
    cloudflare,
    core,
    cron_jobs,
    dns,
    docker,
    domains,
    files,
    mail,
    plans,
    server,
    sites,
    webhooks,
    wordpress,
)
from panelica_async.sandbox.panel_handlers.base import HANDLERS

__all__ = [
    "HANDLERS",
    "accounts",
    "api_keys",
    "cloudflare",
    "core",
    "cron_jobs",
    "dns",
    "docker",
    "domains",
    "files",
    "mail",
    "plans",
    "server",
    "sites",
    "webhooks",
    "wordpress",
]
