"""The clients that are compared: each fetches or creates a domain. Only ours and the one by hand sign.

Code generators make some of the clients from the OpenAPI document of this package, again in each run.
"""

import hmac
import shutil
import subprocess
import sysconfig
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib import import_module
from importlib.resources import files
from pathlib import Path

import aiohttp
import attrs
import orjson

from benchmarks.server import DOMAIN
from panelica_async import PanelicaClient
from panelica_async.core.converter import decode
from panelica_async.models.domains import Domain

_KEY = "pk_live_bench"
_SECRET = "sk_live_bench"  # noqa: S105 - the server checks nothing

IN_FLIGHT = 100
"""The most concurrent calls; every pool has a connection for each."""

_GENERATOR_TIMEOUT = 120.0
"""Seconds for one generator."""

Call = Callable[[str], Awaitable[object]]
"""Fetches the domain with an id, or creates one for the owner with that id, and decodes the reply."""


@attrs.frozen
class Client:
    """One way to make the call.

    Attributes:
        name: Its name in the report.
        connect: Opens a client for a base URL, and closes it.
        modules: Modules that it needs besides the package itself.
    """

    name: str
    connect: Callable[[str], AbstractAsyncContextManager[Call]]
    modules: tuple[str, ...] = ()


@asynccontextmanager
async def _raw_get(base_url: str) -> AsyncIterator[Call]:
    prefix = f"{base_url}/v1/domains/"
    async with _make_session() as session:

        async def fetch(id: str) -> object:
            async with session.get(prefix + id) as response:
                return orjson.loads(await response.read())

        yield fetch


@asynccontextmanager
async def _raw_create(base_url: str) -> AsyncIterator[Call]:
    url = f"{base_url}/v1/domains"
    async with _make_session() as session:

        async def create(id: str) -> object:
            body = orjson.dumps({"domain": DOMAIN, "user_id": id, "php_version": "8.4"})
            async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
                return orjson.loads(await response.read())

        yield create


@asynccontextmanager
async def _get_by_hand(base_url: str) -> AsyncIterator[Call]:
    template = hmac.new(_SECRET.encode(), digestmod="sha256")
    async with _make_session() as session:

        async def fetch(id: str) -> object:
            path, timestamp = f"/v1/domains/{id}", str(int(time.time()))
            signature = template.copy()
            signature.update(f"GET{path}{timestamp}".encode())
            headers = {"X-API-Key": _KEY, "X-Timestamp": timestamp, "X-Signature": signature.hexdigest()}
            async with session.get(base_url + path, headers=headers) as response:
                return decode(orjson.loads(await response.read()), Domain, endpoint="GET /v1/domains/{id}")

        yield fetch


@asynccontextmanager
async def _create_by_hand(base_url: str) -> AsyncIterator[Call]:
    url, template = f"{base_url}/v1/domains", hmac.new(_SECRET.encode(), digestmod="sha256")
    async with _make_session() as session:

        async def create(id: str) -> object:
            body = orjson.dumps({"domain": DOMAIN, "user_id": id, "php_version": "8.4"})
            timestamp = str(int(time.time()))
            signature = template.copy()
            signature.update(f"POST/v1/domains{timestamp}".encode() + body)
            headers = {
                "Content-Type": "application/json",
                "X-API-Key": _KEY,
                "X-Timestamp": timestamp,
                "X-Signature": signature.hexdigest(),
            }
            async with session.post(url, data=body, headers=headers) as response:
                return decode(orjson.loads(await response.read()), Domain, endpoint="POST /v1/domains")

        yield create


def _make_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT))


def _make_client(base_url: str) -> PanelicaClient:
    # The enterprise tier has no limits: every call passes the limiter at once. The server speaks the reference.
    return PanelicaClient(base_url, api_key=_KEY, api_secret=_SECRET, tier="enterprise", dialect="reference")


@asynccontextmanager
async def _get_with_panelica_async(base_url: str) -> AsyncIterator[Call]:
    async with _make_client(base_url) as panel:
        yield panel.domains.get


@asynccontextmanager
async def _create_with_panelica_async(base_url: str) -> AsyncIterator[Call]:
    async with _make_client(base_url) as panel:

        async def create(id: str) -> object:
            return await panel.domains.create(domain=DOMAIN, user_id=id, php_version="8.4")

        yield create


@asynccontextmanager
async def _httpx(base_url: str) -> AsyncIterator[Call]:
    import httpx  # noqa: PLC0415 - may be missing

    prefix = f"{base_url}/v1/domains/"
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT, keepalive_expiry=60)
    async with httpx.AsyncClient(limits=limits) as client:

        async def fetch(id: str) -> object:
            response = await client.get(prefix + id)
            return orjson.loads(response.content)

        yield fetch


@attrs.frozen
class Generator:
    """How to run a code generator.

    Attributes:
        command: The command that its package installs.
        arguments: The arguments of the command; `{document}`, `{folder}` and `{package}` are filled in.
        package: Importable name of the client that it makes.
        programs: Other programs that it needs.
    """

    command: str
    arguments: tuple[str, ...]
    package: str
    programs: tuple[str, ...] = ()

    def run(self, document: Path, folder: Path) -> str | None:
        """Make the client in a folder; return why that failed, or None."""
        command = shutil.which(self.command, path=sysconfig.get_path("scripts"))
        if command is None:
            return f"{self.command} is not installed"
        for program in self.programs:
            if shutil.which(program) is None:
                return f"{program} is not installed"
        values = {"document": document, "folder": folder, "package": self.package}
        try:
            process = subprocess.run(  # noqa: S603 - the command lines below
                [command, *(argument.format_map(values) for argument in self.arguments)],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=_GENERATOR_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"{self.command} did not end within {_GENERATOR_TIMEOUT:.0f} s"
        if process.returncode or not (folder / self.package / "__init__.py").exists():
            lines = (process.stderr or process.stdout).strip().splitlines()
            return f"{self.command} failed: {lines[-1] if lines else f'exit code {process.returncode}'}"
        return None


OPENAPI_GENERATOR = Generator(
    command="openapi-generator-cli",
    arguments=(
        *("generate", "--generator-name", "python", "--library", "asyncio", "--skip-validate-spec"),
        *("--input-spec", "{document}", "--output", "{folder}", "--package-name", "{package}"),
    ),
    package="from_openapi_generator",
    programs=("java",),
)
OPENAPI_PYTHON_CLIENT = Generator(
    command="openapi-python-client",
    arguments=("generate", "--path", "{document}", "--meta", "none", "--output-path", "{folder}/{package}"),
    package="from_openapi_python_client",
)


def generate(folder: Path) -> dict[str, str]:
    """Make all clients in a folder; return the reasons of those that failed, by package."""
    document = Path(str(files("panelica_async") / "openapi.json"))
    generators = (OPENAPI_GENERATOR, OPENAPI_PYTHON_CLIENT)
    reasons = {generator.package: generator.run(document, folder) for generator in generators}
    return {package: reason for package, reason in reasons.items() if reason is not None}


@asynccontextmanager
async def _openapi_generator(base_url: str) -> AsyncIterator[Call]:
    package = import_module(OPENAPI_GENERATOR.package)
    settings = package.Configuration(host=base_url)
    settings.connection_pool_maxsize = IN_FLIGHT
    async with package.ApiClient(settings) as client:
        yield package.DomainsApi(client).domains_get


@asynccontextmanager
async def _openapi_python_client(base_url: str) -> AsyncIterator[Call]:
    import httpx  # noqa: PLC0415 - may be missing

    package = import_module(OPENAPI_PYTHON_CLIENT.package)
    operation = import_module(f"{OPENAPI_PYTHON_CLIENT.package}.api.domains.domains_get")
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT, keepalive_expiry=60)
    async with package.Client(base_url=base_url, httpx_args={"limits": limits}) as client:
        yield partial(operation.asyncio, client=client)


BASELINE = Client("raw aiohttp + orjson", _raw_get)
BY_HAND = Client("the same, signed, a model", _get_by_hand)
"""The same call without quota, retries, timeouts, statistics and events."""
OURS = Client("panelica_async", _get_with_panelica_async)
GETS = (BASELINE, BY_HAND, OURS)
CREATES = (
    Client(BASELINE.name, _raw_create),
    Client(BY_HAND.name, _create_by_hand),
    Client(OURS.name, _create_with_panelica_async),
)
"""The same three for a create, whose body is signed too."""
GENERATED = (
    Client(
        "openapi-generator",
        _openapi_generator,
        (OPENAPI_GENERATOR.package, "aiohttp_retry", "dateutil", "pydantic"),
    ),
    Client("openapi-python-client", _openapi_python_client, (OPENAPI_PYTHON_CLIENT.package, "httpx")),
)
OTHERS = (Client("httpx + orjson", _httpx, ("httpx",)), *GENERATED)
