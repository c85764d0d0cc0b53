"""Which modules an import loads; `benchmarks/import_time.py` measures how long it takes."""

import json
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[1]

# Every program that uses the client has loaded these anyway.
FLOOR = "import aiohttp, attrs, cattrs"
CLIENT = 'panel = PanelicaClient("panel.example.com", api_key="pk_test_a", api_secret="sk_test_a")'
HEAVY = {"jsonschema", "yaml", "rich", "typer", "click", "sqlite3", "redis", "pydantic", "multiprocessing"}


def loaded_by(*statements: str, after: str = "") -> set[str]:
    """Return the modules that statements load in a fresh interpreter which has run `after`."""
    program = "\n".join(
        [
            after,
            "import json, sys",
            "before = set(sys.modules)",
            *statements,
            "print(json.dumps(sorted(set(sys.modules) - before)))",
        ]
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
    return set(json.loads(done.stdout))


def ours(modules: set[str]) -> set[str]:
    return {name for name in modules if name.partition(".")[0] == "panelica_async"}


def strangers(modules: set[str]) -> set[str]:
    """The packages among modules that are neither ours nor of the standard library."""
    packages = {name.partition(".")[0] for name in modules if not name.startswith("_sysconfigdata")}
    return packages - sys.stdlib_module_names - {"panelica_async"}


def test_package_alone_loads_only_its_errors() -> None:
    modules = loaded_by("import panelica_async")
    assert strangers(modules) <= {"orjson"}
    assert ours(modules) == {
        "panelica_async",
        "panelica_async._version",
        "panelica_async.core",
        "panelica_async.core.json_codec",
        "panelica_async.core.redaction",
        "panelica_async.errors",
    }


def test_client_loads_no_model_resource_or_heavy_package() -> None:
    modules = loaded_by("from panelica_async import PanelicaClient", CLIENT, after=FLOOR)
    # backoff repeats requests, orjson reads replies.
    assert strangers(modules) <= {"backoff", "orjson"}
    assert not HEAVY & {name.partition(".")[0] for name in modules}
    outer = ("models", "resources", "sandbox", "provision", "cli")
    found = {name for name in ours(modules) if name.split(".")[1:2] and name.split(".")[1] in outer}
    # The package of the resources holds the namespaces of the client, the registry the names of the operations.
    assert found == {"panelica_async.resources", "panelica_async.resources.registry"}


def test_namespace_loads_only_its_own_modules() -> None:
    modules = loaded_by("panel.dns.records.list", after=f"{FLOOR}\nfrom panelica_async import PanelicaClient\n{CLIENT}")
    assert {name for name in ours(modules) if name.split(".")[1] not in {"api", "client"}} == {
        "panelica_async.models",
        "panelica_async.models.dns",
        "panelica_async.resources.dns",
    }


def test_model_loads_only_its_own_module() -> None:
    modules = loaded_by("from panelica_async.models import Domain")
    assert {name for name in ours(modules) if ".models" in name} == {
        "panelica_async.models",
        "panelica_async.models.domains",
    }
    assert "aiohttp" not in modules


def test_names_that_load_late_are_listed() -> None:
    names = ["panelica_async", *(f"panelica_async.{name}" for name in ("models", "ratelimit", "telemetry"))]
    program = f"""
import importlib
for module in map(importlib.import_module, {names}):
    missing = set(module.__all__) - set(dir(module))
    assert not missing, (module, missing)
"""
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True)


def test_optional_packages_are_optional() -> None:
    """The plain client and provisioning work where nothing but the dependencies is installed."""
    blocked = [*HEAVY - {"sqlite3", "multiprocessing"}, "orjson"]
    loaded_by(
        "from panelica_async import PanelicaClient, provision",
        CLIENT,
        "panel.domains; panel.accounts",
        "provision.Manifest.from_data([{'domain': 'example.com', 'owner': {'username': 'alice'}}])",
        after=f"import sys\nsys.modules.update(dict.fromkeys({blocked!r}))",
    )


def test_failing_call_loads_nothing() -> None:
    """A process that has run out of file descriptors could not load a module, and would fail in another way."""
    failing = """
import asyncio, contextlib
from panelica_async import ConnectError, PanelicaClient, RateLimit

panel = PanelicaClient(
    "http://127.0.0.1:1", api_key="pk_test_a", api_secret="sk_test_a", limiter=RateLimit(), max_retries=1
)

async def fail():
    async with panel:
        with contextlib.suppress(ConnectError):
            await panel.request("GET", "/v1/me")
"""
    loaded = loaded_by("asyncio.run(fail())", after=failing)
    assert ours(loaded) | (loaded & {"backoff"}) == set()
