"""The entry point of the command `panelica`; needs the extra `cli`."""

import sys

__all__ = ["main"]

_USAGE_ERROR = 2
_INTERRUPTED = 130


def main() -> None:
    """Run the command with the arguments of this process, and exit."""
    try:
        _run()
    except KeyboardInterrupt:  # Commands handle Ctrl-C themselves; this is one while modules are loaded.
        sys.stderr.write("Interrupted.\n")
        sys.exit(_INTERRUPTED)


def _run() -> None:
    try:
        from panelica_async.cli.commands import app  # noqa: PLC0415 - needs the extra
        from panelica_async.cli.output import ResultStream  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("panelica_async"):
            raise
        sys.stderr.write('The command panelica needs more packages: pip install "panelica_async[cli]"\n')
        sys.exit(_USAGE_ERROR)
    try:
        app()
    except OSError as error:  # Commands report theirs; this one is from printing the help or the version.
        ResultStream().discard()
        sys.exit(f"Error: standard output: {error.strerror}")
