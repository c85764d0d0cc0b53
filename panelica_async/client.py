"""`PanelicaClient`: settings, variants with other options, key rotation, raw requests, events, statistics, closing."""

import os
import platform
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, cast

import aiohttp
import attrs

from panelica_async._version import __version__
from panelica_async.api.discovery import PanelDialect, chosen_dialect
from panelica_async.api.raw import ApiResponse, send_raw
from panelica_async.api.resource import Namespace, namespace
from panelica_async.api.runner import NOT_COPYABLE, OperationRunner
from panelica_async.core.address import Address
from panelica_async.core.model import UNSET, Unset
from panelica_async.core.operation import Dialect
from panelica_async.core.signing import Signer
from panelica_async.errors import (
    ConfigurationError,
    NotFoundError,
    PanelicaError,
    PermissionDeniedError,
    TransportError,
)
from panelica_async.ratelimit import Lane, RateLimit, RateLimiter
from panelica_async.resources import Namespaces
from panelica_async.resources.registry import get_operation
from panelica_async.transport.call import CallOptions
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.keys import AUTO, ApiKey, KeyHolder, KeyQuota
from panelica_async.transport.pipeline import Transport
from panelica_async.transport.session import SessionHolder, TlsSetting, proxy_from_environment, require_encryption

if TYPE_CHECKING:
    from panelica_async.api.panel_spec import PanelSpec
    from panelica_async.models.utility import RateLimitStatus
    from panelica_async.resources.utility import Utility
    from panelica_async.telemetry.events import Listener
    from panelica_async.telemetry.statistics import Statistics

LIMIT_REFUSALS = (PermissionDeniedError, NotFoundError)
"""The key may not read its rate limit: few keys have the scope `*:*` that it takes (evidence: rate-limit-endpoint)."""
_QUOTA_OPTIONS = CallOptions(timeout=10.0, max_retries=1, learns_quota=False)
"""For the question about the quota. It has no deadline: calls do not wait for it, and while the quota of a key is used
up, the answer is worth a long wait."""


class PanelicaClient(Namespaces):
    """A client of one panel, with one API key.

    ```python
    async with PanelicaClient("https://panel.example.com:8443", api_key="pk_live_…", api_secret="sk_live_…") as panel:
        async for domain in panel.domains.list(status="active"):
            print(domain.domain, domain.disk_usage_mb)
    ```

    All clients in a process that use the same key and address share its quota, unless you pass a `RateLimiter`. A
    client belongs to the event loop and the process of its first call.

    Args:
        base_url: Address of the panel: `host`, `host:port`, or a URL with or without `/api/external` and `/v1`. The
            default scheme is https, and the default port 8443, even after `https://`. Any other path is dropped. On
            port 3002 the prefix `/api/external` is used only if you write it. Default: the environment variable
            `PANELICA_BASE_URL`.
        api_key: Public half of the key, `pk_live_…`. Default: `PANELICA_API_KEY`.
        api_secret: Secret half, `sk_live_…`. Default: `PANELICA_API_SECRET`.
        tier: Rate-limit tier of the key: `starter`, `professional`, `business` or `enterprise`. `auto` asks the panel
            during the first call, which takes one or two further calls, and assumes `starter` until the panel answers.
        session: An aiohttp session to borrow; it is never closed. Default: a session of its own, closed with the
            client.
        timeout: Seconds for one attempt, from sending to the last byte of the reply. Connecting may take half of it, at
            most 10 s; after that it raises `ConnectError`.
        deadline: Seconds for a whole call, with its waits for quota and its retries; None for no limit.
        max_retries: Maximum number of retries of a call that may be repeated, 0 for none. There is no retry if its wait
            would exceed 90 s, `max_wait` or the deadline, or if the retry budget is empty.
        ssl: How to verify the panel's certificate: path of a PEM file with the certificates to trust, `sha256:…` with
            the fingerprint of the only one to accept, an `ssl.SSLContext` or an `aiohttp.Fingerprint`. Default: the
            authorities that the system trusts. False turns verification off: anyone on the network path can then read
            and change everything.
        dialect: Which API to call: `reference`, the published API reference, or `panel`, what current panels serve.
            `auto` asks the panel before the first call, once for each address in a process, without using quota.
            Replies of both forms are understood in either case. Default: `PANELICA_DIALECT`, or `auto`.
        app_name: Name of your program, which precedes that of this package in the User-Agent.
        limiter: What to use instead of the limit of the tier: a `RateLimit`, which replies do not change, or your own
            `RateLimiter`.
        trust_env: Whether to use the proxy in `HTTPS_PROXY` or `HTTP_PROXY`, with user and password if it requires
            them, unless `NO_PROXY` excludes the panel. A borrowed session keeps its own settings.

    Raises:
        ConfigurationError: A setting is missing or invalid; the message names it.
    """

    spec: "PanelSpec" = namespace("panelica_async.api.panel_spec:PanelSpec")
    """What this panel lists about its own API; once it is loaded, `**fields` are checked against it."""

    def __init__(
        self,
        base_url: str | None = None,
        *,
        api_key: str | None = None,
        api_secret: str | None = None,
        tier: str = AUTO,
        session: aiohttp.ClientSession | None = None,
        timeout: float = 30.0,
        deadline: float | None = None,
        max_retries: int = 3,
        ssl: TlsSetting = None,
        dialect: Dialect | Literal["auto"] | Unset = UNSET,
        app_name: str | None = None,
        limiter: RateLimiter | RateLimit | None = None,
        trust_env: bool = False,
    ) -> None:
        address = Address.parse(_setting("base_url", base_url))
        signer = Signer(_setting("api_key", api_key), _setting("api_secret", api_secret))
        quota = KeyQuota(address.origin, signer.api_key, tier=tier, limiter=limiter)
        transport = Transport(
            address=address,
            sessions=SessionHolder(session, proxy=proxy_from_environment(address.origin) if trust_env else None),
            keys=KeyHolder(ApiKey(signer, quota)),
            clock=PanelClock(),
            ssl=ssl,
            user_agent=user_agent(app_name),
        )
        require_encryption(address.origin, ssl)
        options = CallOptions(timeout=timeout, deadline=deadline, max_retries=max_retries)
        panel_dialect = PanelDialect(transport, str(address), chosen_dialect(dialect))
        runner = OperationRunner(transport, options, panel_dialect, get_operation)
        transport.keys.ask = partial(_ask_quota, panel_dialect)
        self._bind(runner, base_url=str(address))

    def _bind(self, runner: OperationRunner, *, base_url: str, root: "PanelicaClient | None" = None) -> None:
        self._runner = runner
        self._transport = runner.transport
        self._base_url = base_url
        self._root = root
        """The client of which this is a variant. It owns the session, so it must live as long as the variant."""

    @property
    def base_url(self) -> str:
        """Address of the panel with the prefix of its API, such as `https://panel.example.com:8443/api/external`.

        On port 3002 there is no prefix unless you wrote one.
        """
        return self._base_url

    @property
    def dialect(self) -> Dialect | None:
        """Which API the panel speaks, `reference` or `panel`; None until the client knows."""
        return self._runner.dialect.known

    async def learn_dialect(self) -> Dialect:
        """Return which API the panel speaks, `reference` or `panel`; ask the panel if it is not known yet.

        The first call of an operation does the same. The panel is asked once for each address in a process, without
        a signature and outside the quota.

        Raises:
            ConfigurationError: The client is closed, or belongs to another event loop or process.
            ResponseError: The panel answered with an error that does not show which API it speaks.
            DecodeError: The answer is not JSON.
            TransportError: No complete reply came back.
        """
        return await self._runner.dialect.learn(self._runner.options)

    @property
    def clock_skew(self) -> float | None:
        """Seconds by which replies show the panel's clock ahead of this machine's; None before the first reply."""
        return self._transport.clock.skew

    def with_options(
        self,
        *,
        timeout: float | Unset = UNSET,
        deadline: float | Unset | None = UNSET,
        max_wait: float | Unset | None = UNSET,
        max_retries: int | Unset = UNSET,
        lane: Lane | Unset = UNSET,
        look_up_lost: bool | Unset = UNSET,
    ) -> Self:
        """Return a variant of the client with other options that shares its session, key and quota.

        A variant is cheap: make one even for a single call. Closing either closes both.

        Args:
            timeout: Seconds for one attempt.
            deadline: Seconds for a whole call; None for no limit.
            max_wait: Seconds that each wait of a call may take. A longer wait for quota raises `RateLimitWaitError`
                immediately; before a longer wait for a retry, the call raises its last failure instead. None, the
                default, for no limit.
            max_retries: Maximum number of retries of a call that may be repeated.
            lane: `interactive`, the default, for calls that a user waits for; `bulk` for background work, which yields
                to them.
            look_up_lost: Whether to look up a create whose reply was lost, and return the object if this call made it;
                by default True. False raises `OutcomeUnknownError` immediately.

        Raises:
            ConfigurationError: An option is invalid.
        """
        arguments = {
            "timeout": timeout,
            "deadline": deadline,
            "max_wait": max_wait,
            "max_retries": max_retries,
            "lane": lane,
            "look_up_lost": look_up_lost,
        }
        changes: dict[str, Any] = {name: value for name, value in arguments.items() if not isinstance(value, Unset)}
        runner = self._runner
        options = attrs.evolve(runner.options, **changes)
        variant = type(self).__new__(type(self))
        # Copy the attributes of subclasses, but not groups of operations, which depend on the options.
        for name, value in _attributes(self).items():
            if not _is_computed(type(self), name):
                object.__setattr__(variant, name, value)
        variant._bind(  # noqa: SLF001 - it is of the same class
            runner.with_options(options),
            base_url=self._base_url,
            root=self._root or self,
        )
        return variant

    def rotate_key(self, *, api_key: str, api_secret: str) -> None:
        """Use another API key from now on, in the client and all its variants; no call is lost.

        Calls that wait or are repeated use the new key and its quota. Calls in flight keep the key they were signed
        with, and are signed again if the panel already rejects it.

        Args:
            api_key: Public half of the new key.
            api_secret: Secret half of the new key.

        Raises:
            ConfigurationError: One of them is invalid; the old key stays in use.
        """
        self._transport.keys.replace(Signer(api_key, api_secret), owner=self._transport)

    def subscribe(self, listener: "Listener") -> Callable[[], None]:
        """Send the events of all calls of the client and its variants to a listener.

        Args:
            listener: Called with each event of `panelica_async.telemetry`, in the event loop: it must not block.

        Returns:
            A function that ends the subscription.
        """
        return self._transport.monitor.subscribe(listener)

    def stats(self) -> "Statistics":
        """Return what the client and its variants have done so far, and the state of quota and queue.

        Once the key in use has made a call, any thread may call this.

        Raises:
            RuntimeError: The key in use has made no call yet, and no event loop is running.
        """
        limiter = self._transport.keys.current.quota.limiter
        return self._transport.monitor.tally.summary(limiter.state(), self._transport.budget.left)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        json: Any = UNSET,
        form: aiohttp.FormData | None = None,
    ) -> ApiResponse:
        """Send a signed request to any path, such as an endpoint that this package does not know.

        GET is retried like any read, PUT and DELETE like idempotent writes, everything else like an unsafe write.

        Args:
            method: HTTP method.
            path: Path below the root of the API, such as `/v1/cron-jobs`, without `/api/external` and without a query.
                Characters that need percent-encoding are encoded; existing encoding is kept.
            query: Query parameters; a list repeats its name, booleans become `true` and `false`.
            json: Body; without it, none is sent. None sends null.
            form: Body with files, which are streamed; the signature does not cover multipart bodies. The call uses it
                up and closes its files. A source that can be read only once, such as a pipe, is refused: a retry would
                send it empty.

        Raises:
            TypeError: `path` is not a string, or `query` not a mapping; nothing was sent.
            ValueError: Method, path or body is invalid; nothing was sent.
            ConfigurationError: The client is closed, or belongs to another event loop or process.
            RateLimitWaitError: The wait for quota would be longer than allowed.
            ResponseError: The panel answered with an error.
            DecodeError: The panel declares the reply as JSON, but it is not.
            OutcomeUnknownError: A write was sent, and its outcome is unknown.
            TransportError: No complete reply came back.
        """
        return await send_raw(self._runner, method, path, query, json, form)

    async def close(self) -> None:
        """Close the client and its own session; calls that wait for quota or a retry fail. May be called again.

        Raises:
            ConfigurationError: The event loop of the client runs in another thread: close it there.
        """
        await self._transport.close()
        await self._runner.dialect.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        # If the constructor raised, there is no transport.
        if getattr(self, "_root", self) is None:
            self._transport.warn_if_open(self)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise TypeError(NOT_COPYABLE)

    def __repr__(self) -> str:
        return f"<PanelicaClient {self._base_url} key={self._transport.keys.current.signer.api_key[:12]}…>"


def _setting(name: str, argument: str | None) -> str:
    """Return an argument; if it is None, the environment variable for it."""
    variable = f"PANELICA_{name.upper()}"
    value = argument if argument is not None else os.environ.get(variable)
    if value is None:
        raise ConfigurationError(f"{name} is missing", hint=f"Pass {name}= or set the environment variable {variable}.")
    return value


def user_agent(app_name: str | None) -> str:
    """Return the User-Agent header: the name of the program, if it has one, and that of this package.

    Raises:
        ConfigurationError: A header cannot hold the name.
    """
    package = f"panelica_async/{__version__} Python/{platform.python_version()} aiohttp/{aiohttp.__version__}"
    if app_name is None:
        return package
    if not isinstance(app_name, str) or not (app_name.isascii() and app_name.isprintable() and app_name.strip()):
        raise ConfigurationError(f"app_name must be printable ASCII text, not {app_name!r}")
    return f"{app_name.strip()} {package}"


async def _ask_quota(dialect: PanelDialect, transport: Transport) -> "RateLimitStatus":
    """Ask the panel for the rate limit of the key in use.

    Raises:
        PanelicaError: The panel does not answer the question. After a `TransportError`, it is asked again later.
    """
    try:
        await dialect.learn(_QUOTA_OPTIONS)
    except PanelicaError as error:
        raise TransportError(f"the dialect of the panel is uncertain: {error.message}") from error
    from panelica_async.resources.utility import Utility  # noqa: PLC0415 - it loads models, which no call may need

    return await ask_limit(Utility(OperationRunner(transport, _QUOTA_OPTIONS, dialect, get_operation)))


async def ask_limit(panel: "Namespaces | Utility") -> "RateLimitStatus":
    """Ask the panel for the rate limit of the key; if the key may not read that, for its tier.

    Raises:
        PanelicaError: The panel answers neither question.
    """
    try:
        return await panel.rate_limit()
    except LIMIT_REFUSALS:
        key = await panel.me()
    from panelica_async.models.utility import RateLimitStatus  # noqa: PLC0415 - the calls above have loaded it

    return RateLimitStatus(tier=key.rate_limit_tier)


def _attributes(client: PanelicaClient) -> dict[str, Any]:
    """Return all attributes of a client, including slots of a subclass."""
    state: Any = object.__getstate__(client)
    # If a subclass has slots, the state is a pair of attributes and slots.
    parts = cast("tuple[dict[str, Any] | None, ...]", state if isinstance(state, tuple) else (state,))
    return {name: value for part in parts for name, value in (part or {}).items()}


def _is_computed(kind: type, name: str) -> bool:
    return any(isinstance(vars(base).get(name), cached_property | Namespace) for base in kind.__mro__)
