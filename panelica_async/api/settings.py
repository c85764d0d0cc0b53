"""The settings of a client and where they come from. An invalid one is named before anything is sent."""

import os
import platform
from typing import Final

import aiohttp

from panelica_async._version import __version__
from panelica_async.core.operation import Dialect
from panelica_async.core.unset import Unset
from panelica_async.errors import ConfigurationError

DIALECT_VARIABLE: Final = "PANELICA_DIALECT"
DIALECTS: Final = ("auto", "reference", "panel")
DEFAULT_DIALECT: Final = "auto"


def setting(name: str, argument: str | None) -> str:
    """Return an argument or, without one, the environment variable of its name.

    Raises:
        ConfigurationError: Neither is set.
    """
    variable = f"PANELICA_{name.upper()}"
    value = argument if argument is not None else os.environ.get(variable)
    if value is None:
        raise ConfigurationError(f"{name} is missing", hint=f"Pass {name}= or set the environment variable {variable}.")
    return value


def dialect(argument: str | Unset) -> Dialect | None:
    """Return the dialect to speak, from the argument or from `PANELICA_DIALECT`; None to ask the panel.

    Raises:
        ConfigurationError: No dialect has this name.
    """
    source, name = "dialect", argument
    if isinstance(name, Unset):
        source, name = DIALECT_VARIABLE, default_dialect()
    match name:
        case "reference" | "panel":
            return name
        case "auto":
            return None
        case _:
            raise ConfigurationError(f"{source} must be one of {', '.join(DIALECTS)}, not {name!r}")


def default_dialect() -> str:
    """Return the dialect where no other is chosen: that of `PANELICA_DIALECT`, or `auto`."""
    return os.environ.get(DIALECT_VARIABLE) or DEFAULT_DIALECT


def user_agent(app_name: str | None) -> str:
    """Return the User-Agent header: the name of the program, if there is one, and that of this package.

    Raises:
        ConfigurationError: The name does not fit into a header.
    """
    own = f"panelica_async/{__version__} Python/{platform.python_version()} aiohttp/{aiohttp.__version__}"
    if app_name is None:
        return own
    if not isinstance(app_name, str) or not (app_name.isascii() and app_name.isprintable() and app_name.strip()):
        raise ConfigurationError(f"app_name must be printable ASCII text, not {app_name!r}")
    return f"{app_name.strip()} {own}"
