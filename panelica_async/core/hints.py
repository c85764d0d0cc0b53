"""Hints: what to do about an error, one sentence each.

Here are those for statuses and situations; the catalog has those for the panel's own error codes.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from panelica_async.catalog import ERROR_CODES

MISSING_SCOPE: Final = "Add the scope {scope} to the API key in the panel, or use a key that has it."
INVALID_FIELDS: Final = "Correct {fields}."
ALREADY_EXISTS: Final = ERROR_CODES["CONFLICT"].hint
CLOCK: Final = "Set the clock of this machine with NTP: it is {skew} s {direction} that of the panel."
CLOCKS_AGREE: Final = (
    "Set the clock of the panel's API service with NTP, and check its time zone: the clocks of this machine and of the "
    "panel's web server agree."
)
DIALECT: Final = (
    'Choose the API if the panel cannot answer GET /health: dialect="panel" or "reference", --dialect or '
    "PANELICA_DIALECT."
)
REDIRECT: Final = "Set base_url to the address of the API, such as https://panel.example.com:8443/api/external."
PROXY: Final = (
    "Check the proxy in HTTPS_PROXY or HTTP_PROXY, and its user and password. NO_PROXY lists hosts to reach without it."
)
WEB_PAGE: Final = "Check base_url, its port and its path: a web server answered, not the API."
WEB_PAGE_OF_PROXY: Final = (
    "Check the proxy {proxy}, which passed on this web page; add the panel to NO_PROXY to reach it directly. "
    "Otherwise check base_url, its port and its path."
)
_UNREACHABLE_ORIGIN = "Check that the panel is up and that its firewall admits Cloudflare, which could not reach it."
_LOST_BY_CLOUDFLARE = (
    "Check whether the work was done before you send it again: Cloudflare got no reply from the panel."
)

STATUSES: Final[Mapping[int, str]] = MappingProxyType(
    {
        400: ERROR_CODES["BAD_REQUEST"].hint,
        401: ERROR_CODES["UNAUTHORIZED"].hint,
        403: ERROR_CODES["FORBIDDEN"].hint,
        404: ERROR_CODES["NOT_FOUND"].hint,
        405: "Check method and path: the panel has this path, but not with this method.",
        407: PROXY,
        409: ERROR_CODES["CONFLICT"].hint,
        413: "Send less data at once, or raise the size limit of the web server in front of the panel.",
        422: "Correct the value that the message names; a weak password is a common reason.",
        429: ERROR_CODES["RATE_LIMIT_EXCEEDED"].hint,
        500: ERROR_CODES["INTERNAL_ERROR"].hint,
        502: "Check the API service of the panel on the server, or wait a minute: it is down or restarting.",
        503: "Check the service behind this call: start it on the server, then try again.",
        504: "Check whether the work was done before you send it again: the panel took too long.",
        520: _LOST_BY_CLOUDFLARE,
        522: _LOST_BY_CLOUDFLARE,
        524: _LOST_BY_CLOUDFLARE,
        521: _UNREACHABLE_ORIGIN,
        523: _UNREACHABLE_ORIGIN,
        525: _UNREACHABLE_ORIGIN,
        530: _UNREACHABLE_ORIGIN,
    }
)
"""Hints for replies that have only a status, or an unknown code."""


def for_response(status: int, code: str | None) -> str | None:
    """Return the hint for an error code of the panel; for the status if the code is unknown."""
    error_code = ERROR_CODES.get(code) if code else None
    return error_code.hint if error_code else STATUSES.get(status)
