"""The command `panelica`; needs the extra `cli`."""

import sys

__all__ = ["main"]

_USAGE_ERROR = 2


def main() -> None:
    """Run the command with the arguments of this process, and exit."""
    try:
        from panelica_async.cli.commands import app  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("panelica_async"):
            raise
        sys.stderr.write('The command panelica needs more packages: pip install "panelica_async[cli]"\n')
        sys.exit(_USAGE_ERROR)
    app()
