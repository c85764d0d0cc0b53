"""Generates all files as texts by path, writes them, and compares them with those that exist."""

import difflib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from codegen.bridge import load_bridge
from codegen.models import group_of_schema, model_groups, render_models
from codegen.modules import resource_modules
from codegen.panel import load_panel, merged_document, render_document, render_endpoints
from codegen.panel_operations import panel_only, schemas_of
from codegen.render import (
    render_catalog,
    render_model_index,
    render_operations_table,
    render_panel_operations_table,
    render_resources,
)
from codegen.spec import load

_PROJECT = Path(__file__).parent.parent
_PACKAGE = Path("panelica_async")
_FOLDERS = (_PACKAGE / "models", _PACKAGE / "resources")
"""Folders with generated files only: any other module in them is deleted."""


def generate(spec: Path) -> dict[Path, str]:
    """Return every generated file, by its path below the project."""
    specification = load(spec)
    panel = load_panel(spec, specification)
    only = panel_only(panel, specification)
    groups = model_groups(specification, schemas_of(only, specification))
    homes = group_of_schema(groups)
    modules = resource_modules(specification, load_bridge(spec, specification, panel), only, homes)
    code = {
        _PACKAGE / "catalog.py": render_catalog(specification),
        _PACKAGE / "models/__init__.py": render_model_index(homes),
        **{_PACKAGE / "models" / name: text for name, text in render_models(groups).items()},
        **{_PACKAGE / "resources" / name: text for name, text in render_resources(modules).items()},
    }
    files = formatted(code)
    for path, text in files.items():
        compile(text, path.as_posix(), "exec")
    files[_PACKAGE / "openapi.json"] = json.dumps(specification.document, ensure_ascii=False, indent=1) + "\n"
    files[_PACKAGE / "panel_endpoints.json"] = render_endpoints(panel)
    files[_PACKAGE / "panel_openapi.json"] = render_document(merged_document(panel))
    files[Path("docs/operations.md")] = render_operations_table(modules)
    files[Path("docs/panel-operations.md")] = render_panel_operations_table(modules)
    return files


def formatted(files: Mapping[Path, str]) -> dict[Path, str]:
    """Return Python files with imports sorted, unused imports removed and the layout of the repository."""
    with tempfile.TemporaryDirectory() as name:
        # Under another name: ruff keeps unused imports in an `__init__.py`, because other modules may use them.
        places = {path: Path(name) / path.with_stem(path.stem.replace("__init__", "package-file")) for path in files}
        for path, place in places.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(files[path], encoding="utf-8")
        # An import that fits on one line once the unused names are gone is put on one line.
        one_line = ("--config", "lint.isort.split-on-trailing-comma = false")
        _ruff("check", "--fix", "--select", "I,F401,UP", *one_line, folder=Path(name))
        _ruff("format", folder=Path(name))
        return {path: place.read_text(encoding="utf-8") for path, place in places.items()}


def _ruff(*arguments: str, folder: Path) -> None:
    options = ("--quiet", "--no-cache", "--config", str(_PROJECT / "pyproject.toml"))
    command = [sys.executable, "-m", "ruff", *arguments, *options, "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)  # noqa: S603 - our own arguments
    if done.returncode:
        raise RuntimeError(f"ruff rejects the generated code:\n{done.stdout}{done.stderr}")


def write(files: Mapping[Path, str], project: Path) -> list[Path]:
    """Bring the generated files of a project up to date and return the paths that changed.

    Files that the generator no longer writes are deleted.
    """
    stale = sorted(_present(project) - files.keys())
    for path in stale:
        (project / path).unlink()
    changed = [path for path, text in files.items() if _content(project / path) != text]
    for path in changed:
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(files[path], encoding="utf-8")
    return stale + changed


def differences(files: Mapping[Path, str], project: Path) -> Iterator[str]:
    """Yield a unified diff for each file that is out of date."""
    for path in sorted(_present(project) | files.keys()):
        diff = difflib.unified_diff(
            _content(project / path).splitlines(keepends=True),
            files.get(path, "").splitlines(keepends=True),
            f"{path.as_posix()} (as it is)",
            f"{path.as_posix()} (as generated)",
        )
        yield from diff


def _present(project: Path) -> set[Path]:
    return {path.relative_to(project) for folder in _FOLDERS for path in (project / folder).glob("**/*.py")}


def _content(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
