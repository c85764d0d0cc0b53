"""What a client is told about its panel and its manners, checked: each mistake is named before anything is sent."""

import os
import platform
from typing import Final

import aiohttp

from panelica_async._version import __version__
from panelica_async.core.operation import Dialect
from panelica_async.errors import ConfigurationError
from panelica_async.ratelimit.lanes import LANES
from panelica_async.transport.call import CallOptions

_DIALECTS: Final = ("auto", "reference", "panel")


def setting(name: str, given: str | None) -> str:
    """Return what was given, or the environment variable of this name.

    Raises:
        ConfigurationError: There is neither.
    """
    variable = f"PANELICA_{name.upper()}"
    value = given if given is not None else os.environ.get(variable)
    if value is None:
        raise ConfigurationError(f"{name} is missing", hint=f"Pass {name}= or set the environment variable {variable}.")
    return value


def checked(options: CallOptions) -> CallOptions:
    """Return options as they are.

    Raises:
        ConfigurationError: One of them cannot be right.
    """
    if not _is_duration(options.timeout):
        raise ConfigurationError(f"timeout is {options.timeout!r}; it takes seconds above 0")
    for name, seconds in (("deadline", options.deadline), ("max_wait", options.max_wait)):
        if seconds is not None and not _is_duration(seconds):
            raise ConfigurationError(f"{name} is {seconds!r}; it takes seconds above 0, or None for no end")
    if isinstance(options.max_retries, bool) or not isinstance(options.max_retries, int) or options.max_retries < 0:
        raise ConfigurationError(f"max_retries is {options.max_retries!r}; it takes a whole number from 0")
    if options.lane not in LANES:
        raise ConfigurationError(f"lane is {options.lane!r}; it takes one of {', '.join(LANES)}")
    return options


def dialect(name: str) -> Dialect:
    """Return the dialect to speak.

    Raises:
        ConfigurationError: There is none of this name.
    """
    if name not in _DIALECTS:
        raise ConfigurationError(f"dialect is {name!r}; it takes one of {', '.join(_DIALECTS)}")
    return "panel" if name == "panel" else "reference"


def user_agent(app_name: str | None) -> str:
    """Return the User-Agent: the program's name, if it has one, and ours.

    Raises:
        ConfigurationError: The name does not fit into a header.
    """
    own = f"panelica_async/{__version__} Python/{platform.python_version()} aiohttp/{aiohttp.__version__}"
    if app_name is None:
        return own
    if not isinstance(app_name, str) or not (app_name.isascii() and app_name.isprintable() and app_name.strip()):
        raise ConfigurationError(f"app_name is {app_name!r}; it takes printable ASCII characters")
    return f"{app_name.strip()} {own}"


def _is_duration(seconds: object) -> bool:
    return isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 < seconds < float("inf")
