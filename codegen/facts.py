"""Renders `panelica_async/catalog.py`: the facts of `spec/facts.yaml` that the package needs at run time."""

import textwrap

from codegen.header import generated_by
from codegen.spec import Specification


def _literal(text: str) -> str:
    """Return a string literal, in parts where it is too long for a line."""
    return "(" + " ".join(repr(part) for part in textwrap.wrap(text, 90, drop_whitespace=False)) + ")"


def render_facts(specification: Specification) -> str:
    """Return the unformatted text of the module."""
    facts = specification.facts
    tiers = "\n".join(
        f"    {name!r}: Tier(name={name!r}, requests_per_minute={tier['requests_per_minute']!r},"
        f" requests_per_hour={tier['requests_per_hour']!r}, burst={tier['burst']!r},"
        f" unlimited={tier.get('unlimited', False)!r}),"
        for name, tier in facts.get("tiers", {}).items()
    )
    scopes = tuple(scope["name"] for scope in facts.get("scopes", ()))
    events = tuple(event["name"] for event in facts.get("webhook_events", ()))
    services = {service["name"]: service["display_name"] for service in facts.get("services", ())}
    codes = "\n".join(
        f"    {code['code']!r}: ErrorCode(code={code['code']!r}, status={code['status']!r},"
        f" meaning={_literal(code['meaning'])}, hint={_literal(code['hint'])}),"
        for code in facts.get("error_codes", ())
    )
    return f'''"""Facts about the API that are not endpoints: tiers, scopes, webhook events, services, error codes.

{generated_by("facts")}
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs


@attrs.frozen(kw_only=True)
class Tier:
    """A rate-limit tier; None stands for what is not known, or not limited where `unlimited` is True."""

    name: str
    requests_per_minute: int | None
    requests_per_hour: int | None
    burst: int | None
    unlimited: bool


@attrs.frozen(kw_only=True)
class ErrorCode:
    """A machine-readable code of the panel's errors."""

    code: str
    status: int
    """HTTP status it comes with."""
    meaning: str
    hint: str
    """What to do about it."""


TIERS: Final[Mapping[str, Tier]] = MappingProxyType({{
{tiers}
}})
"""Rate-limit tiers by name, slowest first."""

SCOPES: Final[tuple[str, ...]] = {scopes!r}
"""Every scope a key can have."""

WEBHOOK_EVENTS: Final[tuple[str, ...]] = {events!r}
"""Events the reference names; panels have more."""

SERVICES: Final[Mapping[str, str]] = MappingProxyType({services!r})
"""Services of a server, with the names they are shown under; panels have more."""

ERROR_CODES: Final[Mapping[str, ErrorCode]] = MappingProxyType({{
{codes}
}})
"""Codes the panel is known to answer with."""
'''
