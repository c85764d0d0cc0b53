"""What a shell may complete, beside commands and options."""

import json
from collections.abc import Iterable
from importlib.resources import files

import typer

from panelica_async.catalog import TIERS

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def complete_tier(incomplete: str) -> list[str]:
    """Return the tiers that begin so."""
    return _beginning(TIERS, incomplete)


def complete_tier_or_auto(incomplete: str) -> list[str]:
    """Return the tiers that begin so, and `auto`."""
    return _beginning(("auto", *TIERS), incomplete)


def complete_method(incomplete: str) -> list[str]:
    """Return the methods that begin so, in any case."""
    return _beginning(_METHODS, incomplete.upper())


def complete_path(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the documented paths that begin so and take the method before them; ids are left as `{id}`."""
    method = str(ctx.params.get("method") or "").lower()
    paths = json.loads(files("panelica_async").joinpath("openapi.json").read_text("utf-8"))["paths"]
    return _beginning((path for path, operations in paths.items() if not method or method in operations), incomplete)


def _beginning(values: Iterable[str], incomplete: str) -> list[str]:
    return [value for value in values if value.startswith(incomplete)]
