"""`panelica provision`: many sites from one manifest."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from panelica_async.cli.command import ExitCode, command
from panelica_async.cli.connection import Connection
from panelica_async.cli.options import StateDirectory
from panelica_async.cli.output import Output
from panelica_async.errors import ConfigurationError

if TYPE_CHECKING:
    from panelica_async.provision import Manifest

# What the commands stand on is imported when one runs: it loads models, which `--help` need not wait for.
# ruff: noqa: PLC0415

provision: typer.Typer = typer.Typer(
    help="Bring up many sites from one manifest: a CSV, YAML or JSON file.",
    no_args_is_help=True,
    epilog="Example: panelica provision plan launch.csv",
)

ManifestFile = Annotated[Path, typer.Argument(metavar="FILE", help="The manifest: .csv, .yaml, .yml or .json.")]
RunFile = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="The manifest, or the journal of a run.", show_default=False)
]
Concurrency = Annotated[int, typer.Option(min=1, metavar="SITES", help="How many sites to work on at a time.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before the first write to a server.")]


@attrs.frozen(kw_only=True)
class ColumnOptions:
    """What the columns of a manifest mean, where their names do not say it; its fields are options."""

    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="NAME=FIELD",
            help="Read the column NAME as a field such as plan or username. May be repeated.",
            rich_help_panel="Columns",
            show_default=False,
        ),
    ] = None
    ignore_column: Annotated[
        list[str] | None,
        typer.Option(
            "--ignore-column",
            metavar="NAME",
            help="Pass over the column NAME. May be repeated.",
            rich_help_panel="Columns",
            show_default=False,
        ),
    ] = None

    def load(self, file: Path) -> "Manifest":
        """Load a manifest with these columns.

        Raises:
            ConfigurationError: An option is not of its form, or the manifest cannot be used.
        """
        from panelica_async.provision import Manifest

        columns: dict[str, str] = {}
        for option in self.column or ():
            name, equals, field = option.rpartition("=")
            if not equals or not name.strip() or not field.strip():
                raise ConfigurationError(
                    f"--column must be of the form NAME=FIELD, not {option!r}",
                    hint="Write --column 'Hosting Tarif=plan'.",
                )
            if columns.setdefault(name, field) != field:
                raise ConfigurationError(f"--column reads {name!r} as {columns[name]!r} and as {field!r}")
        return Manifest.load(file, columns=columns, ignore_columns=self.ignore_column or ())


@provision.command(epilog="Example: panelica provision plan launch.csv --tier professional")
@command
async def plan(
    file: ManifestFile, columns: ColumnOptions, connection: Connection, state: StateDirectory, output: Output
) -> ExitCode:
    """Show what apply would do: what is created, what exists, what conflicts, and how long it takes.

    Only reads. Exit code 1 means that something conflicts or is uncertain.
    """
    from panelica_async.cli import runs

    return await runs.show_plan(file, columns.load(file), connection, state, output)


@provision.command(epilog="Example: panelica provision apply launch.csv --sandbox")
@command
async def apply(
    file: ManifestFile,
    columns: ColumnOptions,
    connection: Connection,
    state: StateDirectory,
    output: Output,
    concurrency: Concurrency = 8,
    yes: Yes = False,
) -> ExitCode:
    """Bring the sites of a manifest into being, and report what became of each.

    What exists is left alone, and a run of the manifest that was interrupted is continued. Ctrl-C lets the calls on
    their way finish and stops; pressed again, it breaks off. Either way, resume goes on without doing anything twice.

    Asks before the first write to a server; without a terminal to ask on, it needs --yes. The embedded sandbox is
    written to without a question.

    Exit code 0: every site is done or was there; 1: some failed or are uncertain; 2: nothing was changed on
    the panel, because something is wrong with manifest, options or a file, or there is no terminal to ask on; 130:
    interrupted.
    """
    from panelica_async.cli import runs

    return await runs.apply_file(file, columns.load(file), runs.RunOptions(connection, state, output, concurrency, yes))


@provision.command(epilog="Example: panelica provision resume launch.csv --sandbox")
@command
async def resume(
    connection: Connection,
    state: StateDirectory,
    output: Output,
    file: RunFile = None,
    concurrency: Concurrency = 8,
    yes: Yes = False,
) -> ExitCode:
    """Go on with a run that was interrupted, or try again what failed in it.

    FILE is the manifest or the journal; it may be left out when only one run in the state directory has something
    left to do. Exit codes are those of apply.
    """
    from panelica_async.cli import runs

    return await runs.resume_run(file, runs.RunOptions(connection, state, output, concurrency, yes))


@provision.command(epilog="Example: panelica provision status launch.csv")
@command
async def status(state: StateDirectory, output: Output, file: RunFile = None) -> ExitCode:
    """Show what the journal of a run knows, without asking the panel.

    FILE is the manifest or the journal; without it, every journal in the state directory is shown.
    """
    from panelica_async.cli.status_view import show_status

    return await show_status(file, state, output)


@provision.command(epilog="Example: panelica provision undo launch.csv --sandbox")
@command
async def undo(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The manifest, or the journal of a run.")],
    connection: Connection,
    state: StateDirectory,
    output: Output,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting.")] = False,
) -> ExitCode:
    """Delete what the runs of a manifest created, and nothing else.

    What was sent without a known outcome is looked for first. An account, domain or database that holds anything else
    by now is kept; files are not looked at. Asks first, unless told --yes; without a terminal it needs it. Ctrl-C stops
    after the deletion on its way, and undo again goes on.

    Exit code 0: everything is gone; 1: something is left over or uncertain; 130: interrupted.
    """
    from panelica_async.cli.undo import undo_runs

    return await undo_runs(file, connection, state, output, yes=yes)
