"""A Panelica panel in your process, for demos and for tests of programs that use this package.

    async with Sandbox(tier="professional") as box:
        panel = PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret)

It serves every operation of the published reference with real state or, with `dialect="panel"`, every endpoint of
current panels in their own form. It checks signatures, timestamps, scopes, whitelists and rate limits, validates
queries and bodies against the specification from which the client is generated, and records which object belongs to
which. Background work takes time, by the clock of the sandbox. Operations without a handler are checked alike, and
keep what they create.

Where the behaviour of real panels is unknown, the sandbox guesses. The docstring of each module lists its guesses:

- `auth`: order of the checks, codes of unknown, revoked and expired keys, status for an address off the whitelist
- `panel`: order of route, key, rate limit, scope and body; which headers a 429 of current panels has
- `limits`: which requests count, how they are counted, and which replies say so
- `validation`: which names are valid
- `handlers.base`: which passwords are valid, what a list returns without `page` and `limit`, what a reseller sees, what
  a suspended account or domain may not do
- `store`: the contents of a new panel, invented traffic
- `handlers.webhooks`: the messages to webhooks, their signatures, and when they are sent again
- `default`: the behaviour of endpoints without a handler
- `handlers.*`: defaults of omitted fields, durations, what counts as a duplicate
- `messages`: which error has which shape on current panels
- `spec`: the status of a success there, and the body of a change that is not described

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
