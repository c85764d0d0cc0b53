"""Shows a plan, as text or JSON."""

from collections import Counter
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from panelica_async import RateLimit
from panelica_async.catalog import TIERS
from panelica_async.cli.connection import Panel
from panelica_async.cli.format import (
    duration,
    number,
    object_table,
    pending_line,
    plural,
    quota,
    remark_lines,
)
from panelica_async.provision import Action, Plan, StepKind

_OBSTACLES = {Action.CONFLICT: ("conflict", "red"), Action.UNCERTAIN: ("uncertain", "yellow")}
_IN_CONFLICT = {Action.CONFLICT, Action.BLOCKED}


def plan_data(plan: Plan, panel: Panel) -> dict[str, Any]:
    """Return a plan as JSON-like data, with the estimated time."""
    limit = panel.limiter.limit
    return {
        "panel": panel.client.base_url,
        **plan.to_dict(),
        "ignored_columns": plan.manifest.ignored_columns,
        "limit": {"per_minute": limit.per_minute, "per_hour": limit.per_hour},
        "estimated_seconds": round(plan.estimate(limit).total_seconds(), 1),
    }


def plan_summary(plan: Plan, panel: Panel) -> str:
    """Return a summary of a plan, in a few lines."""
    counts = Counter(planned.action for planned in plan.steps)
    in_conflict = sum(counts[action] for action in _IN_CONFLICT)
    uncertain = f", {number(counts[Action.UNCERTAIN])} uncertain" if counts[Action.UNCERTAIN] else ""
    ignored = ", ".join(plan.manifest.ignored_columns)
    return (
        f"{plural(len(plan.sites), 'site')} with {plural(len(plan.steps), 'object')}: "
        f"{number(counts[Action.CREATE])} to create, {number(counts[Action.KEEP])} already there, "
        f"{number(in_conflict)} in conflict{uncertain}.\n{_time(plan, panel.limiter.limit)}"
        + (f"\nIgnored columns: {ignored}." if ignored else "")
        + (f"\n{pending_line(len(plan.pending))}" if plan.pending else "")
        + "".join(f"\n{line}" for line in remark_lines(plan.remarks))
    )


def has_obstacles(plan: Plan) -> bool:
    """Return whether something conflicts or is uncertain."""
    return any(planned.action in _OBSTACLES for planned in plan.steps)


def print_plan(plan: Plan, panel: Panel, console: Console) -> None:
    """Print a plan: the objects of each kind, the conflicts, and the estimated time."""
    console.print(Text(f"{plan.manifest.name} on {panel.name}\n"), soft_wrap=True)
    console.print(_counts(plan))
    if bad := _obstacles(plan):
        console.print()
        console.print(bad)
    console.print()
    console.print(Text(plan_summary(plan, panel)), soft_wrap=True)
    if plan.writes:
        times = ", ".join(f"{name} {duration(_seconds(plan, RateLimit.for_tier(name)))}" for name in TIERS)
        console.print(Text(f"Minimum time by tier: {times}.", "dim"), soft_wrap=True)


def _counts(plan: Plan) -> Table:
    table = Table(
        "", "to create", "already there", "in conflict", "uncertain", box=None, header_style="bold", pad_edge=False
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for kind in StepKind:
        if counts := plan.counts.get(kind):
            in_conflict = sum(counts.get(action, 0) for action in _IN_CONFLICT)
            cells = (
                counts.get(Action.CREATE, 0),
                counts.get(Action.KEEP, 0),
                in_conflict,
                counts.get(Action.UNCERTAIN, 0),
            )
            table.add_row(kind.plural, *(number(cell) if cell else "-" for cell in cells))
    return table


def _obstacles(plan: Plan) -> Table | None:
    bad = [planned for planned in plan.steps if planned.action in _OBSTACLES]
    if not bad:
        return None
    return object_table(
        (
            planned.step.site,
            planned.step.label,
            Text(*_OBSTACLES[planned.action]),
            planned.reason or "",
        )
        for planned in bad
    )


def _time(plan: Plan, limit: RateLimit) -> str:
    if not plan.writes:
        return "Nothing to send."
    if limit.is_unlimited:
        return f"{plural(plan.writes, 'write')} to send, without a rate limit."
    return f"{plural(plan.writes, 'write')} to send, at least {duration(_seconds(plan, limit))} at {quota(limit)}."


def _seconds(plan: Plan, limit: RateLimit) -> float:
    return plan.estimate(limit).total_seconds()
