"""`panelica provision`: declares its five subcommands; `cli.runs`, `cli.report` and `cli.undo` carry them out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from panelica_async.cli.command import Command, ExitCode, Group, command
from panelica_async.cli.options import ConnectionOptions, StateDirectory
from panelica_async.cli.output import Output
from panelica_async.errors import ConfigurationError

if TYPE_CHECKING:
    from panelica_async.provision import Manifest

# Commands import modules when they run, so that `--help` does not load the models.
# ruff: noqa: PLC0415

provision: typer.Typer = typer.Typer(
    cls=Group,
    help="Create many sites from one manifest: a CSV, YAML or JSON file.",
    no_args_is_help=True,
    epilog="Example: panelica provision plan launch.csv",
)

ManifestFile = Annotated[Path, typer.Argument(metavar="FILE", help="The manifest: .csv, .yaml, .yml or .json.")]
RunFile = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="The manifest, or the journal of a run.", show_default=False)
]
Concurrency = Annotated[int, typer.Option(min=1, metavar="SITES", help="Number of sites to work on at a time.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before the first write to a server.")]


@attrs.frozen(kw_only=True)
class ColumnOptions:
    """How to read columns whose names do not show their meaning. Each field is an option."""

    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="NAME=FIELD",
            help="Read the column NAME as a field, such as plan or username. May be repeated.",
            rich_help_panel="Columns",
            show_default=False,
        ),
    ] = None
    ignore_column: Annotated[
        list[str] | None,
        typer.Option(
            "--ignore-column",
            metavar="NAME",
            help="Ignore the column NAME. May be repeated.",
            rich_help_panel="Columns",
            show_default=False,
        ),
    ] = None

    def load(self, file: Path) -> "Manifest":
        """Load a manifest, reading its columns as the options say.

        Raises:
            ConfigurationError: An option or the manifest is invalid.
        """
        from panelica_async.provision import Manifest

        columns: dict[str, str] = {}
        for option in self.column or ():
            name, equals, field = option.rpartition("=")
            if not equals or not name.strip() or not field.strip():
                raise ConfigurationError(
                    f"--column must be NAME=FIELD, not {option!r}",
                    hint="Write it like --column 'Hosting Plan=plan'.",
                )
            if columns.setdefault(name, field) != field:
                raise ConfigurationError(
                    f"--column must map {name!r} to one field, not to {columns[name]!r} and {field!r}"
                )
        return Manifest.load(file, columns=columns, ignore_columns=self.ignore_column or ())


@provision.command(cls=Command, epilog="Example: panelica provision plan launch.csv --tier professional")
@command
async def plan(
    file: ManifestFile, columns: ColumnOptions, connection: ConnectionOptions, state: StateDirectory, output: Output
) -> ExitCode:
    """Show what apply would create, what already exists, what conflicts, and how long it takes.

    Only reads. Exit code 1 means that something conflicts or is uncertain.
    """
    from panelica_async.cli.runs import show_plan

    return await show_plan(file, columns.load(file), connection, state, output)


@provision.command(cls=Command, epilog="Example: panelica provision apply launch.csv --sandbox")
@command
async def apply(
    file: ManifestFile,
    columns: ColumnOptions,
    connection: ConnectionOptions,
    state: StateDirectory,
    output: Output,
    concurrency: Concurrency = 8,
    yes: Yes = False,
) -> ExitCode:
    """Create the sites of a manifest, and report the result of each.

    Existing objects are kept, and an interrupted run of the manifest is continued. Ctrl-C stops after the calls in
    flight; a second Ctrl-C stops at once. Either way, resume continues without creating anything twice.

    Asks before the first write to a server; without a terminal, pass --yes. Writing to the embedded
    sandbox needs no confirmation.

    Exit code 0: every site is done or already existed; 1: some failed or are uncertain; 2: nothing was changed on
    the panel, because the manifest, an option or a file is invalid, or there is no terminal to ask on; 130:
    interrupted.
    """
    from panelica_async.cli import runs

    return await runs.apply_file(file, columns.load(file), runs.RunOptions(connection, state, output, concurrency, yes))


@provision.command(cls=Command, epilog="Example: panelica provision resume launch.csv --sandbox")
@command
async def resume(
    connection: ConnectionOptions,
    state: StateDirectory,
    output: Output,
    file: RunFile = None,
    concurrency: Concurrency = 8,
    yes: Yes = False,
) -> ExitCode:
    """Continue an interrupted run, and retry what failed.

    FILE may be omitted if only one run in the state directory is unfinished. Exit codes are those of apply.
    """
    from panelica_async.cli import runs

    return await runs.resume_run(file, runs.RunOptions(connection, state, output, concurrency, yes))


@provision.command(cls=Command, epilog="Example: panelica provision status launch.csv")
@command
async def status(state: StateDirectory, output: Output, file: RunFile = None) -> ExitCode:
    """Show what the journal of a run contains, without asking the panel.

    Without FILE, shows every journal in the state directory.
    """
    from panelica_async.cli.report import show_status

    return await show_status(file, state, output)


@provision.command(cls=Command, epilog="Example: panelica provision undo launch.csv --sandbox")
@command
async def undo(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The manifest, or the journal of a run.")],
    connection: ConnectionOptions,
    state: StateDirectory,
    output: Output,
    site: Annotated[
        list[str] | None,
        typer.Option(
            "--site",
            metavar="DOMAIN",
            help="Delete only what was created for the site of this domain. May be repeated.",
            show_default="all sites",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting.")] = False,
) -> ExitCode:
    """Delete what the runs of a manifest created, and nothing else.

    With --site, deletes only one site, such as that of a customer who cancels; the account stays if it has other sites.

    An account, domain or database is kept if anything else was added to it since; files are not checked. Objects that
    may have been created are looked up first. Asks before deleting; without a terminal, pass --yes. Ctrl-C stops after
    the deletion in flight; run undo again to continue.

    Exit code 0: everything is deleted; 1: something is left over or uncertain; 130: interrupted.
    """
    from panelica_async.cli.undo import undo_runs

    return await undo_runs(file, site or (), connection, state, output, yes=yes)
