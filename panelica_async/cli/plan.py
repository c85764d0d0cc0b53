"""`panelica provision plan`: works out what `apply` would do, and shows it as text or JSON."""

from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console
from rich.table import Table
from rich.text import Text

from panelica_async import RateLimit
from panelica_async.catalog import TIERS
from panelica_async.cli.command import ExitCode
from panelica_async.cli.connection import Connection, Panel
from panelica_async.cli.format import duration, number, object_table, pending_line, plural, quota, remark_lines
from panelica_async.cli.options import StateDirectory
from panelica_async.cli.output import Output
from panelica_async.cli.progress import reading
from panelica_async.provision import Action, Journal, Manifest, Plan, PlannedStep, RunDirectory, StepKind
from panelica_async.provision.journal import journal_at
from panelica_async.provision.plan import remarks_on_scopes

_OBSTACLES = {Action.CONFLICT: ("conflict", "red"), Action.UNCERTAIN: ("uncertain", "yellow")}


async def show_plan(
    file: Path, manifest: Manifest, connection: Connection, state: StateDirectory, output: Output
) -> ExitCode:
    """Show what `apply` would do, without writing anything."""
    async with AsyncExitStack() as resources, connection.open(state) as panel:
        files = RunDirectory(state.state_dir).files_for(file, panel.client.base_url)
        journal = None
        if files.journal.exists():
            journal = await resources.enter_async_context(journal_at(files.journal, read_only=True))
        plan = await build_plan(panel, manifest, journal, output)
        if output.json:
            output.document(_data(plan, panel))
        else:
            _print(plan, panel, output.results)
    return ExitCode.FAILED if _obstacles(plan) else ExitCode.OK


async def build_plan(panel: Panel, manifest: Manifest, journal: Journal | None, output: Output) -> Plan:
    """Plan a run, and show that it is reading; the remarks include those about the scopes of the key."""
    async with reading(output.messages, f"Reading what exists on {panel.name} …", panel.limiter):
        plan = await Plan.build(panel.client, manifest, journal=journal)
        lacking = await remarks_on_scopes(panel.client, plan.new, plan.abilities)
        return attrs.evolve(plan, remarks=(*lacking, *plan.remarks))


def plan_summary(plan: Plan, panel: Panel) -> str:
    """Return a summary of a plan, in a few lines."""
    counts = Counter(planned.action for planned in plan.steps)
    uncertain = f", {number(counts[Action.UNCERTAIN])} uncertain" if counts[Action.UNCERTAIN] else ""
    objects = (
        f"{plural(len(plan.sites), 'site')} with {plural(len(plan.steps), 'object')}: "
        f"{number(counts[Action.CREATE])} to create, {number(counts[Action.KEEP])} already there, "
        f"{number(counts[Action.CONFLICT] + counts[Action.BLOCKED])} in conflict{uncertain}."
    )
    lines = [objects, _time(plan, panel.limiter.limit)]
    if plan.manifest.ignored_columns:
        lines.append(f"Ignored columns: {', '.join(plan.manifest.ignored_columns)}.")
    if plan.pending:
        lines.append(pending_line(len(plan.pending)))
    return "\n".join([*lines, *remark_lines(plan.remarks)])


def _data(plan: Plan, panel: Panel) -> dict[str, Any]:
    """Return a plan as JSON-like data, with the estimated time."""
    limit = panel.limiter.limit
    return {
        "panel": panel.client.base_url,
        **plan.to_dict(),
        "ignored_columns": plan.manifest.ignored_columns,
        "limit": {"per_minute": limit.per_minute, "per_hour": limit.per_hour},
        "estimated_seconds": round(_seconds(plan, limit), 1),
    }


def _print(plan: Plan, panel: Panel, console: Console) -> None:
    """Print the objects of each kind, the conflicts, and the estimated time."""
    console.print(Text(f"{plan.manifest.name} on {panel.name}\n"), soft_wrap=True)
    console.print(_counts(plan))
    if obstacles := _obstacles(plan):
        console.print()
        console.print(
            object_table(
                (planned.step.site, planned.step.label, Text(*_OBSTACLES[planned.action]), planned.reason or "")
                for planned in obstacles
            )
        )
    console.print()
    console.print(Text(plan_summary(plan, panel)), soft_wrap=True)
    if plan.writes:
        limits = {name: RateLimit.for_tier(name) for name in TIERS}
        times = ", ".join(
            f"{name} {'without a limit' if limit.is_unlimited else duration(_seconds(plan, limit))}"
            for name, limit in limits.items()
        )
        console.print(Text(f"Minimum time by tier: {times}.", "dim"), soft_wrap=True)


def _counts(plan: Plan) -> Table:
    table = Table(
        "", "to create", "already there", "in conflict", "uncertain", box=None, header_style="bold", pad_edge=False
    )
    for column in table.columns[1:]:
        column.justify = "right"
    by_kind = plan.counts
    for kind in StepKind:
        if kind in by_kind:
            counts = Counter(by_kind[kind])
            in_conflict = counts[Action.CONFLICT] + counts[Action.BLOCKED]
            cells = (counts[Action.CREATE], counts[Action.KEEP], in_conflict, counts[Action.UNCERTAIN])
            table.add_row(kind.plural, *(number(cell) if cell else "-" for cell in cells))
    return table


def _obstacles(plan: Plan) -> list[PlannedStep]:
    """Return the steps that conflict with something or are uncertain."""
    return [planned for planned in plan.steps if planned.action in _OBSTACLES]


def _time(plan: Plan, limit: RateLimit) -> str:
    if not plan.writes:
        return "Nothing to send."
    if limit.is_unlimited:
        return f"{plural(plan.writes, 'write')} to send, without a rate limit."
    return f"{plural(plan.writes, 'write')} to send, at least {duration(_seconds(plan, limit))} at {quota(limit)}."


def _seconds(plan: Plan, limit: RateLimit) -> float:
    return plan.estimate(limit).total_seconds()
