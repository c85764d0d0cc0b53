"""Handlers of the endpoints of current panels, one module for each category."""

from panelica_async.sandbox.panel_handlers import accounts, core, dns, domains, plans
from panelica_async.sandbox.panel_handlers.base import HANDLERS

__all__ = ["HANDLERS", "accounts", "core", "dns", "domains", "plans"]
