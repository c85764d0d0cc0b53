"""What to do about an error reply, in one sentence each.

Hints for the panel's own error codes are in the catalog; these are for statuses and situations.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from panelica_async.catalog import ERROR_CODES

MISSING_SCOPE: Final = "Add the scope {scope} to the API key in the panel, or use a key that has it."
INVALID_FIELDS: Final = "Correct {fields}."
ALREADY_THERE: Final = ERROR_CODES["CONFLICT"].hint
CLOCK: Final = "The clock of this machine is {skew} s {direction} that of the panel: set it by NTP."
CLOCKS_AGREE: Final = (
    "Set the clock of the panel's API service by NTP, and check its time zone: this machine and the web server of the "
    "panel agree on the time."
)
REDIRECT: Final = "Set base_url to the address of the API, such as https://panel.example.com:8443/api/external."
PROXY: Final = (
    "Check the proxy that HTTPS_PROXY or HTTP_PROXY names, and its user and password; NO_PROXY takes hosts that are "
    "reached without it."
)
WEB_PAGE: Final = "A web server answered, not the API: check base_url, its port and its path."
WEB_PAGE_OF_PROXY: Final = (
    "Check the proxy {proxy}, through which this web page came: name the panel in NO_PROXY to reach it without one. "
    "Else check base_url, its port and its path."
)
_CLOUDFLARE = "Cloudflare had no reply of the panel: look whether the work was done before you send it again."

STATUSES: Final[Mapping[int, str]] = MappingProxyType(
    {
        400: ERROR_CODES["BAD_REQUEST"].hint,
        401: ERROR_CODES["UNAUTHORIZED"].hint,
        403: ERROR_CODES["FORBIDDEN"].hint,
        404: ERROR_CODES["NOT_FOUND"].hint,
        405: "Check method and path: the panel has this path, but not with this method.",
        407: PROXY,
        409: ERROR_CODES["CONFLICT"].hint,
        413: "Send less at once, or raise the size limit of the web server in front of the panel.",
        422: "Correct the value that the message names; a weak password is a common reason.",
        429: ERROR_CODES["RATE_LIMIT_EXCEEDED"].hint,
        500: ERROR_CODES["INTERNAL_ERROR"].hint,
        502: "The API service of the panel is down or restarting: look at it on the server, or wait a minute.",
        503: "The service behind this call is down: start it on the server, and try again.",
        504: "The panel took too long: look whether the work was done before you send it again.",
        520: _CLOUDFLARE,
        522: _CLOUDFLARE,
        524: _CLOUDFLARE,
    }
)
"""What to do when the status is all there is, or its code is not known."""


def for_response(status: int, code: str | None) -> str | None:
    """Return what to do about a code of the panel or, when there is none that is known, about the status."""
    known = ERROR_CODES.get(code) if code else None
    return known.hint if known else STATUSES.get(status)
