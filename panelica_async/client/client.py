"""The client."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp

from panelica_async.client import settings
from panelica_async.client.caller import Caller
from panelica_async.client.raw import ApiResponse, send_raw
from panelica_async.core.address import Address
from panelica_async.core.operation import Dialect
from panelica_async.core.signing import Signer
from panelica_async.core.unset import UNSET, Unset
from panelica_async.namespaces import Namespaces
from panelica_async.ratelimit import RateLimit, RateLimiter
from panelica_async.transport.quota import AUTO, KeyQuota
from panelica_async.transport.sessions import SessionHolder, TlsSetting
from panelica_async.transport.signing import SigningMiddleware
from panelica_async.transport.transport import Patience, Transport


class PanelicaClient(Namespaces):
    """A client of one panel, with one API key.

    ```python
    async with PanelicaClient("https://panel.example.com:8443", api_key="pk_live_…", api_secret="sk_live_…") as panel:
        async for domain in panel.domains.list(status="active"):
            print(domain.domain, domain.disk_usage_mb)
    ```

    All clients of a key in a process share its quota. A client belongs to the event loop it is first used in.

    Args:
        base_url: Address of the panel: `host`, `host:port`, or a URL with or without `/api/external` and `/v1`.
            Without a scheme https, without a port 8443. Default: the environment variable `PANELICA_BASE_URL`.
        api_key: Public half of the key, `pk_live_…`. Default: `PANELICA_API_KEY`.
        api_secret: Secret half, `sk_live_…`. Default: `PANELICA_API_SECRET`.
        tier: Rate-limit tier of the key: `starter`, `professional`, `business` or `enterprise`; `auto` asks the
            panel with one call before the first one, and takes `starter` when it does not say.
        session: A session to borrow; it is never closed. Default: one of its own, closed with the client.
        timeout: Seconds for one attempt, from sending to the last byte of the reply.
        deadline: Seconds for a whole call with its waits for quota and its retries; None for no end.
        max_retries: How often an attempt that may be repeated is repeated, from 0.
        ssl: How to verify the panel's certificate: an `ssl.SSLContext`, or an `aiohttp.Fingerprint` of a
            self-signed one. False does not verify at all, which lets anybody on the way read and change everything.
        dialect: Wire form: `reference` is the published API reference, `panel` what current panels serve. `auto` is
            `reference` for now.
        app_name: Name of your program, put before that of this package in the User-Agent.
        limiter: A `RateLimit` or `RateLimiter` to use instead of the tier's.

    Raises:
        ConfigurationError: A setting is missing or cannot be right; the message names it.
    """

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
        dialect: Dialect | Literal["auto"] = "auto",
        app_name: str | None = None,
        limiter: RateLimiter | RateLimit | None = None,
    ) -> None:
        address = Address.parse(settings.setting("base_url", base_url))
        signer = Signer(settings.setting("api_key", api_key), settings.setting("api_secret", api_secret))
        quota = KeyQuota(address.origin, signer.api_key, tier=tier, given=limiter)
        transport = Transport(
            address=address,
            sessions=SessionHolder(session),
            signing=SigningMiddleware(signer, address),
            quota=quota,
            ssl=ssl,
            user_agent=settings.user_agent(app_name),
        )
        self._bind(
            transport,
            quota,
            settings.patience(timeout, deadline, max_retries),
            settings.dialect(dialect),
            base_url=str(address),
            shown_key=f"{signer.api_key[:12]}…",
        )

    def _bind(
        self,
        transport: Transport,
        quota: KeyQuota,
        patience: Patience,
        dialect: Dialect,
        *,
        base_url: str,
        shown_key: str,
        root: "PanelicaClient | None" = None,
    ) -> None:
        self._transport = transport
        self._quota = quota
        self._patience = patience
        self._dialect: Dialect = dialect
        self._base_url = base_url
        self._shown_key = shown_key
        self._root = root
        """The client this is a variant of; it must live as long, because it owns the session."""
        self._caller = Caller(transport, patience, dialect, self._learn_tier)

    @property
    def base_url(self) -> str:
        """Address of the panel with the prefix of its API, such as `https://panel.example.com:8443/api/external`."""
        return self._base_url

    def with_options(
        self,
        *,
        timeout: float | Unset = UNSET,
        deadline: float | Unset | None = UNSET,
        max_retries: int | Unset = UNSET,
    ) -> Self:
        """Return a variant of the client with other options that shares its session and quota.

        Cheap: make one for a single call. Closing either closes both.

        Args:
            timeout: Seconds for one attempt.
            deadline: Seconds for a whole call; None for no end.
            max_retries: How often an attempt that may be repeated is repeated.

        Raises:
            ConfigurationError: An option cannot be right.
        """
        patience = settings.patience(
            self._patience.timeout if isinstance(timeout, Unset) else timeout,
            self._patience.deadline if isinstance(deadline, Unset) else deadline,
            self._patience.max_retries if isinstance(max_retries, Unset) else max_retries,
        )
        variant = type(self).__new__(type(self))
        variant._bind(  # noqa: SLF001 - of the same class
            self._transport,
            self._quota,
            patience,
            self._dialect,
            base_url=self._base_url,
            shown_key=self._shown_key,
            root=self._root or self,
        )
        return variant

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        json: Any = UNSET,
    ) -> ApiResponse:
        """Send a signed request to any path: the way to an endpoint this package does not know.

        GET is retried like any read, PUT and DELETE like an idempotent write, everything else like an unsafe one.

        Args:
            method: HTTP method.
            path: Path from the API's root, such as `/v1/cron-jobs`, without `/api/external` and without a query.
                What needs percent-encoding is encoded; what is encoded already stays.
            query: Query parameters; lists repeat their name, booleans are `true` and `false`.
            json: Body; left out unless given. None sends null.

        Raises:
            ValueError: Method or path cannot be right; nothing was sent.
            ResponseError: The panel answered with an error.
            DecodeError: The panel says the reply is JSON, and it is not.
            OutcomeUnknownError: A write was sent and its fate is not known.
            TransportError: Nothing came back.
        """
        return await send_raw(self._caller, method, path, query, json)

    async def close(self) -> None:
        """Close the client: calls that wait for quota fail, its own session is closed. May be called again."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        # A constructor that raised has left no transport.
        if getattr(self, "_root", self) is None:
            self._transport.warn_if_open(self)

    def __repr__(self) -> str:
        return f"<PanelicaClient {self._base_url} key={self._shown_key}>"

    async def _learn_tier(self) -> None:
        """Ask the panel for the quota, before the first call that counts."""
        if not self._quota.is_due():
            return
        from panelica_async.resources.utility import Utility  # noqa: PLC0415 - loaded when a call is made

        asking = Caller(self._transport, _IMPATIENT, self._dialect, None)
        await self._quota.learn(Utility(asking).rate_limit)


_IMPATIENT = Patience(timeout=10.0, deadline=15.0, max_retries=1)
"""For asking the tier: a panel that does not answer must not hold up the call that waits for it."""
