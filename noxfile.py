"""Every check and chore of the project: `nox` runs all checks, `nox -s NAME` one of them, `nox -l` lists them."""

import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import chain
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
# uv, if it is installed, makes an environment in 4 seconds; pip takes 20.
nox.options.default_venv_backend = "uv|venv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["all"]
# A Python that is not on this machine is skipped.
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.11", "3.12", "3.13"]
# pyenv's shims run only the selected version, so the interpreters behind them go first.
for _folder in Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/3.1[1-9].*/bin"):
    os.environ["PATH"] = f"{_folder}{os.pathsep}{os.environ['PATH']}"

PYPROJECT = nox.project.load_toml("pyproject.toml")
DEVELOPMENT = nox.project.dependency_groups(PYPROJECT, "dev")
TESTING = [requirement for requirement in DEVELOPMENT if not requirement.startswith(("nox", "pyright"))]
NEWMAN = "newman@6.2.2"
# Sessions install packages without bytecode. If Python may not write any, each worker, and each process that a test
# starts, compiles everything it imports and rewrites the asserts of all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# Hypothesis sets its marker itself.
QUICK = "not once and not hypothesis"
# All tests in these folders are marked `once`, so other sessions need not import them.
QUICK_OPTIONS = ["-m", QUICK, *(f"--ignore=tests/{folder}" for folder in ("codegen", "docs", "foreign"))]
CODE = ["panelica_async", "codegen", "tests", "benchmarks", "examples", "noxfile.py"]


@nox.session(name="all", python=False)
def every_check(session: nox.Session) -> None:
    """Run every check, several sessions at a time: some install or check types while others wait for servers."""
    first, *others = [f"tests-{version}" for version in PYTHONS if shutil.which(f"python{version}")]

    def run(name: str) -> None:
        command = (sys.executable, "-m", "nox", "--sessions", name, "--", *session.posargs)
        print(session.run(*command, external=True, silent=True), flush=True)

    with ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:
        sessions = [pool.submit(run, name) for name in (first, "checks", *others, "floor", "foreign")]
        wait(sessions)
    for finished in sessions:
        finished.result()


@nox.session
def checks(session: nox.Session) -> None:
    """Check style, types and generated files: `lint`, `types` and `drift` in one environment."""
    _install(session, *DEVELOPMENT)
    _lint(session)
    _types(session)
    _drift(session)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and layout with ruff; `-- --fix` fixes what it can."""
    session.install(*_pinned("ruff"))
    _lint(session, *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """Check types: mypy --strict over the code, pyright over the package, its public API without any Unknown."""
    _install(session, *DEVELOPMENT)
    _types(session)


@nox.session
def drift(session: nox.Session) -> None:
    """Fail with a diff if a generated file does not match spec/."""
    _install_generator(session)
    _drift(session)


@nox.session
def codegen(session: nox.Session) -> None:
    """Generate models, resources, catalog, the JSON files of the package and docs/operations.md from spec/."""
    _install_generator(session)
    session.run("python", "-m", "codegen")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests; arguments after `--` go to pytest. Slow tests run only on the first Python."""
    _install(session, *TESTING)
    session.run("pytest", *_pytest_options(session), *session.posargs)


@nox.session(python=PYTHONS[0])
def floor(session: nox.Session) -> None:
    """Run the tests with the lowest version of every dependency that pyproject.toml allows."""
    _install(session, *TESTING, *_lowest_versions())
    session.run("pytest", *QUICK_OPTIONS, "-m", f"not development and {QUICK}", *session.posargs)


@nox.session
def foreign(session: nox.Session) -> None:
    """Test the sandbox and its Postman collection with schemathesis and newman."""
    testing = _pinned("pytest", "pytest-asyncio", "hypothesis")
    _install(session, *testing, *nox.project.dependency_groups(PYPROJECT, "foreign"))
    # Without access to the npm registry, the tests of newman are skipped.
    prefix = session.virtualenv.location
    session.run("npm", "install", "--global", "--prefix", prefix, NEWMAN, success_codes=range(256), silent=True)
    session.run("pytest", "tests/foreign", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Provision the 100 sites of examples/launch.csv on the embedded sandbox."""
    session.install("-e", ".[cli]")
    session.run("panelica", "provision", "apply", "examples/launch.csv", "--sandbox", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks; figures are ratios to a baseline measured in the same run."""
    _install(session, *TESTING, *nox.project.dependency_groups(PYPROJECT, "bench"))
    session.run("python", "-m", "benchmarks", *session.posargs)


def _lint(session: nox.Session, *options: str) -> None:
    session.run("ruff", "check", *options, *CODE)
    session.run("ruff", "format", *([] if "--fix" in options else ["--diff"]), *CODE)


def _types(session: nox.Session) -> None:
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "panelica_async", "--ignoreexternal")


def _drift(session: nox.Session) -> None:
    session.run("python", "-m", "codegen", "--check")


def _pytest_options(session: nox.Session) -> list[str]:
    """Return the options that select the tests for a Python: all, on all cores, for the first one on this machine.

    The quick tests of the others run in one process, because a worker takes as long to collect them as to run them.
    """
    python = str(session.python)
    first = next((version for version in PYTHONS if shutil.which(f"python{version}")), python)
    return ["-n", "auto"] if python == first else QUICK_OPTIONS


def _install(session: nox.Session, *requirements: str) -> None:
    # Compiling takes a fifth of the time of an installation, and most modules are never imported.
    session.install("--no-compile", "-e", ".[cli]", *requirements)


def _pinned(*names: str) -> list[str]:
    return [requirement for requirement in DEVELOPMENT if requirement.startswith(names)]


def _install_generator(session: nox.Session) -> None:
    tools = _pinned("datamodel-code-generator", "jinja2", "openapi-spec-validator", "ruff")
    session.install("-e", ".[sandbox,yaml]", *tools)


def _lowest_versions() -> list[str]:
    """Return every run-time requirement at the lower end of its range."""
    project = PYPROJECT["project"]
    requirements = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    # The SDK must have the version of the API.
    requirements += _pinned("opentelemetry-sdk")
    return [
        requirement.split(",")[0].replace(">=", "==")
        for requirement in requirements
        if not requirement.startswith("panelica_async")
    ]
