"""`panelica doctor`: finds out why calls to a panel fail."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from panelica_async import ConfigurationError
from panelica_async.cli.command import ExitCode, command
from panelica_async.cli.connection import reach
from panelica_async.cli.format import plural, print_prose
from panelica_async.cli.options import ConnectionOptions, StateDirectory
from panelica_async.cli.output import Output
from panelica_async.core.redaction import excerpt

if TYPE_CHECKING:
    from panelica_async.doctor import Diagnosis

_STATE_WORDS = {
    "ok": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "failure": ("failed", "bold red"),
    "skipped": ("skipped", "dim"),
}


@command
async def doctor(
    connection: ConnectionOptions,
    state: StateDirectory,
    output: Output,
    require: Annotated[
        list[str] | None,
        typer.Option("--require", metavar="SCOPE", help="Scope that the key must have; may be repeated."),
    ] = None,
) -> ExitCode:
    """Check whether calls to a panel work, and if not, find out why.

    Checks the connection, the certificate, the clock, the key with its rate limit and scopes, and the dialect. Only
    reads, with two or three signed calls. Exit code 1 means that a check failed.
    """
    from panelica_async.doctor import diagnose  # noqa: PLC0415 - loads models, which `--help` need not wait for

    required = [_scope(text) for text in require or []]
    async with reach(connection, state) as access:
        with output.busy(f"Checking {access.name} …"):
            diagnosis = await diagnose(
                access.base_url,
                api_key=access.api_key,
                api_secret=access.api_secret,
                tier=connection.tier,
                ssl=connection.trust(),
                timeout=connection.timeout,
                session=access.session,
                trust_env=connection.trust_env,
                dialect=connection.chosen_dialect() or "auto",
                require=required,
            )
    if output.json:
        output.print_json(diagnosis.to_dict())
    else:
        _print(diagnosis, output.results)
    return ExitCode.FAILED if diagnosis.failed else ExitCode.OK


def _scope(text: str) -> str:
    family, _, verb = text.partition(":")
    if not family or not verb:
        raise ConfigurationError(f"--require must be a scope such as domains:write, not {excerpt(text)!r}")
    return text


def _print(diagnosis: "Diagnosis", console: Console) -> None:
    for finding in diagnosis.findings:
        word, style = _STATE_WORDS[finding.state]
        prefix = Text.assemble((f"{word:<8}", style), f"{finding.name.replace('_', ' '):<12}")
        print_prose(console, finding.message, prefix=prefix)
        if finding.hint:
            print_prose(console, Text(finding.hint, "dim"), prefix=" " * len(prefix))
    console.print()
    print_prose(console, Text(_summary(diagnosis), "bold"))


def _summary(diagnosis: "Diagnosis") -> str:
    first = diagnosis.first
    if first is None:
        return "All checks passed."
    counts = Counter(finding.state.value for finding in diagnosis.findings)
    failures, warnings = counts["failure"], counts["warning"]
    result = f"{plural(failures, 'check')} failed" if failures else f"No check failed, {plural(warnings, 'warning')}"
    return f"{result}. Fix first: {first.name.replace('_', ' ')}. {first.hint or first.message}"
