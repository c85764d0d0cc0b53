"""A whole Panelica panel in the process, for demos and for tests of what uses this package.

    async with Sandbox(tier="professional") as box:
        panel = PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret)

It serves every operation of the published reference with real state: signatures, time window, scopes, whitelists and
rate limits are checked, queries and bodies validated against the same specification the client is generated from,
objects belong to each other, and what takes time on a panel takes time by its clock. Operations that the specification
has and that have no handler of their own are checked alike, and keep what is created.

Where nothing is known about real panels, the sandbox guesses. Each guess stands in the docstring of its module:

- `auth`: order of the checks, codes of unknown, revoked and expired keys, status for a foreign address
- `panel`: order of route, key, rate limit, scope and body
- `limits`: which requests count, how, and which replies tell about it
- `handlers.base`: what comes without `page` and `limit`
- `rules`: forms of names, length of passwords; what a full plan and a suspension forbid
- `seed`, `store`: what a new panel holds, made-up traffic
- `events`, `deliveries`: what is sent to webhooks, and how it is signed and repeated
- `handlers.*`: defaults of fields that are left out, durations, what is a duplicate

Needs the extra `sandbox`.
"""

try:
    from panelica_async.sandbox.auth import Credentials
    from panelica_async.sandbox.faults import Fault, Faults
    from panelica_async.sandbox.limits import ServerLimits, Verdict
    from panelica_async.sandbox.server import RecordedRequest, Sandbox
except ModuleNotFoundError as _error:
    if _error.name is None or _error.name.startswith("panelica_async"):
        raise
    raise ModuleNotFoundError(
        f'panelica_async.sandbox needs {_error.name}: pip install "panelica_async[sandbox]"', name=_error.name
    ) from _error

__all__ = ["Credentials", "Fault", "Faults", "RecordedRequest", "Sandbox", "ServerLimits", "Verdict"]
