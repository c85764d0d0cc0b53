"""The ways to fetch one domain that are compared. Only ours signs, waits for quota and retries."""

import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib import import_module

import aiohttp
import attrs
import orjson

from benchmarks.generators import OPENAPI_GENERATOR, OPENAPI_PYTHON_CLIENT
from benchmarks.server import DOMAIN_ID
from panelica_async import PanelicaClient
from panelica_async.core.converter import decode
from panelica_async.models.domains import Domain

_KEY = "pk_live_bench"
_SECRET = "sk_live_bench"  # noqa: S105 - the server checks nothing

IN_FLIGHT = 100
"""The most calls at one time; every pool has a connection for each."""

Fetch = Callable[[], Awaitable[object]]
"""Fetches the domain and decodes it."""


@attrs.frozen
class Client:
    """One way to fetch the domain.

    Attributes:
        name: Its name in the report.
        connect: Opens a client of the server with a base URL, and closes it.
        modules: What must be importable besides the package itself.
    """

    name: str
    connect: Callable[[str], AbstractAsyncContextManager[Fetch]]
    modules: tuple[str, ...] = ()


@asynccontextmanager
async def _raw_aiohttp(base_url: str) -> AsyncIterator[Fetch]:
    url = f"{base_url}/v1/domains/{DOMAIN_ID}"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:

        async def fetch() -> object:
            async with session.get(url) as response:
                return orjson.loads(await response.read())

        yield fetch


@asynccontextmanager
async def _by_hand(base_url: str) -> AsyncIterator[Fetch]:
    path = f"/v1/domains/{DOMAIN_ID}"
    template = hmac.new(_SECRET.encode(), digestmod="sha256")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:

        async def fetch() -> object:
            timestamp = str(int(time.time()))
            signature = template.copy()
            signature.update(f"GET{path}{timestamp}".encode())
            headers = {"X-API-Key": _KEY, "X-Timestamp": timestamp, "X-Signature": signature.hexdigest()}
            async with session.get(base_url + path, headers=headers) as response:
                return decode(orjson.loads(await response.read()), Domain, endpoint="GET /v1/domains/{id}")

        yield fetch


@asynccontextmanager
async def _panelica_async(base_url: str) -> AsyncIterator[Fetch]:
    # The enterprise tier has no limits: every call passes the limiter at once.
    async with PanelicaClient(base_url, api_key=_KEY, api_secret=_SECRET, tier="enterprise") as panel:
        yield partial(panel.domains.get, DOMAIN_ID)


@asynccontextmanager
async def _httpx(base_url: str) -> AsyncIterator[Fetch]:
    import httpx  # noqa: PLC0415 - may be missing

    url = f"{base_url}/v1/domains/{DOMAIN_ID}"
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT, keepalive_expiry=60)
    async with httpx.AsyncClient(limits=limits) as client:

        async def fetch() -> object:
            response = await client.get(url)
            return orjson.loads(response.content)

        yield fetch


@asynccontextmanager
async def _openapi_generator(base_url: str) -> AsyncIterator[Fetch]:
    package = import_module(OPENAPI_GENERATOR.package)
    settings = package.Configuration(host=base_url)
    settings.connection_pool_maxsize = IN_FLIGHT
    async with package.ApiClient(settings) as client:
        yield partial(package.DomainsApi(client).domains_get, DOMAIN_ID)


@asynccontextmanager
async def _openapi_python_client(base_url: str) -> AsyncIterator[Fetch]:
    import httpx  # noqa: PLC0415 - may be missing

    package = import_module(OPENAPI_PYTHON_CLIENT.package)
    operation = import_module(f"{OPENAPI_PYTHON_CLIENT.package}.api.domains.domains_get")
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT, keepalive_expiry=60)
    async with package.Client(base_url=base_url, httpx_args={"limits": limits}) as client:
        yield partial(operation.asyncio, DOMAIN_ID, client=client)


BASELINE = Client("raw aiohttp + orjson", _raw_aiohttp)
BY_HAND = Client("the same, signed, a model", _by_hand)
"""What is left of a call when nobody waits for quota, retries, times out, counts or tells."""
OURS = Client("panelica_async", _panelica_async)
GENERATED = (
    Client(
        "openapi-generator",
        _openapi_generator,
        (OPENAPI_GENERATOR.package, "aiohttp_retry", "dateutil", "pydantic"),
    ),
    Client("openapi-python-client", _openapi_python_client, (OPENAPI_PYTHON_CLIENT.package, "httpx")),
)
OTHERS = (Client("httpx + orjson", _httpx, ("httpx",)), *GENERATED)
