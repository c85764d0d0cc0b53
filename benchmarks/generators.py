"""The clients that code generators make from the OpenAPI document of this package, made anew for each run."""

import shutil
import subprocess
import sysconfig
from importlib.resources import files
from pathlib import Path

import attrs

_TIMEOUT = 120.0
"""Seconds for one generator."""


@attrs.frozen
class Generator:
    """How to run a code generator.

    Attributes:
        command: Its command, which its package installs.
        arguments: Its command line; `{document}`, `{folder}` and `{package}` are filled in.
        package: Importable name of the client it makes.
        programs: What else must be installed.
    """

    command: str
    arguments: tuple[str, ...]
    package: str
    programs: tuple[str, ...] = ()

    def run(self, document: Path, folder: Path) -> str | None:
        """Make the client in a folder; return why there is none, or None."""
        command = shutil.which(self.command, path=sysconfig.get_path("scripts"))
        if command is None:
            return f"{self.command} is not installed"
        for program in self.programs:
            if shutil.which(program) is None:
                return f"{program} is not installed"
        places = {"document": document, "folder": folder, "package": self.package}
        try:
            done = subprocess.run(  # noqa: S603 - the command lines below
                [command, *(argument.format_map(places) for argument in self.arguments)],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"{self.command} did not end within {_TIMEOUT:.0f} s"
        if done.returncode or not (folder / self.package / "__init__.py").exists():
            lines = (done.stderr or done.stdout).strip().splitlines()
            return f"{self.command} failed: {lines[-1] if lines else f'exit code {done.returncode}'}"
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
    """Make all clients in a folder; return, by package, why one could not be made."""
    document = Path(str(files("panelica_async") / "openapi.json"))
    generators = (OPENAPI_GENERATOR, OPENAPI_PYTHON_CLIENT)
    reasons = {generator.package: generator.run(document, folder) for generator in generators}
    return {package: reason for package, reason in reasons.items() if reason is not None}
