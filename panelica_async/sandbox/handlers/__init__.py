"""Registers the handlers of the reference dialect, a module for each topic; `panel_handlers` has the same topics."""

from panelica_async.sandbox.handlers import (
    accounts,
    api,
    backups,
    databases,
    dns,
    domains,
    files,
    mail,
    server,
)
from panelica_async.sandbox.handlers.base import HANDLERS

__all__ = ["HANDLERS", "accounts", "api", "backups", "databases", "dns", "domains", "files", "mail", "server"]
