"""Options that say what the columns of a manifest mean."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from panelica_async.errors import ConfigurationError

if TYPE_CHECKING:
    from panelica_async.provision import Manifest


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
        from panelica_async.provision import Manifest  # noqa: PLC0415 - loads models, which `--help` need not wait for

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
