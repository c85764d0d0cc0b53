"""The only door to every check and chore: `nox` runs all checks, `nox -s NAME` one of them, `nox -l` lists them."""

import os
from itertools import chain
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "drift", "tests", "floor"]
# A Python that is not on this machine is skipped.
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.11", "3.12", "3.13"]
# pyenv's shims are found but do not run, unless their version is selected: the interpreters behind them go first.
for _folder in Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/3.1[1-9].*/bin"):
    os.environ["PATH"] = f"{_folder}{os.pathsep}{os.environ['PATH']}"

PYPROJECT = nox.project.load_toml("pyproject.toml")
DEVELOPMENT = nox.project.dependency_groups(PYPROJECT, "dev")
TESTING = [requirement for requirement in DEVELOPMENT if not requirement.startswith(("nox", "pyright"))]
CODE = ["panelica_async", "codegen", "tests", "benchmarks", "examples", "noxfile.py"]


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and layout with ruff; `-- --fix` repairs what can be repaired."""
    session.install(*_pinned("ruff"))
    session.run("ruff", "check", *session.posargs, *CODE)
    session.run("ruff", "format", *([] if "--fix" in session.posargs else ["--diff"]), *CODE)


@nox.session
def types(session: nox.Session) -> None:
    """Check types: mypy --strict over the code, pyright over the package, its public API without any Unknown."""
    _install(session, *DEVELOPMENT)
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "panelica_async", "--ignoreexternal")


@nox.session
def codegen(session: nox.Session) -> None:
    """Generate models, resources, facts, openapi.json and docs/operations.md from spec/."""
    _install_generator(session)
    session.run("python", "-m", "codegen")


@nox.session
def drift(session: nox.Session) -> None:
    """Fail with a diff when a generated file is not what spec/ gives."""
    _install_generator(session)
    session.run("python", "-m", "codegen", "--check")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests; arguments after `--` go to pytest."""
    _install(session, *TESTING)
    session.run("pytest", "-n", "auto", *session.posargs)


@nox.session(python="3.11")
def floor(session: nox.Session) -> None:
    """Run the tests with the lowest version of every dependency that pyproject.toml allows."""
    _install(session, *TESTING, *_floors())
    session.run("pytest", "-n", "auto", "-m", "not development", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Launch the 100 sites of examples/launch.csv on the embedded sandbox."""
    session.install("-e", ".[cli]")
    session.run("panelica", "provision", "apply", "examples/launch.csv", "--sandbox", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks; figures are ratios to a baseline measured in the same run."""
    _install(session, *TESTING, *nox.project.dependency_groups(PYPROJECT, "bench"))
    session.run("python", "-m", "benchmarks", *session.posargs)


def _install(session: nox.Session, *requirements: str) -> None:
    # Compiling all modules would take a fifth of the time, and most are never imported.
    session.install("--no-compile", "-e", ".[cli]", *requirements)


def _pinned(*names: str) -> list[str]:
    return [requirement for requirement in DEVELOPMENT if requirement.startswith(names)]


def _install_generator(session: nox.Session) -> None:
    tools = _pinned("datamodel-code-generator", "jinja2", "openapi-spec-validator", "ruff")
    session.install("-e", ".[sandbox,yaml]", *tools)


def _floors() -> list[str]:
    """Return every run-time requirement at the lower end of its range."""
    project = PYPROJECT["project"]
    requirements = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    # It must be of the version of its API.
    requirements += _pinned("opentelemetry-sdk")
    return [
        requirement.split(",")[0].replace(">=", "==")
        for requirement in requirements
        if not requirement.startswith("panelica_async")
    ]
