"""The command line of the generator: writes the generated files, or compares them (`--check`)."""

import argparse
import difflib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from codegen.text import COMMAND

try:
    from codegen.render import generate
    from codegen.yaml_nodes import SpecError
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] in {"codegen", "panelica_async"}:
        raise
    raise SystemExit(
        f"The generator needs {error.name}, which is not installed. Run `nox -s codegen`, which installs what it needs."
    ) from None

_PROJECT = Path(__file__).parent.parent
_FOLDERS = ("panelica_async/models", "panelica_async/resources")
"""Folders that have only generated files: any other module in them is deleted."""


def main(arguments: list[str] | None = None) -> int:
    """Write the generated files, or compare them with `--check`; return the exit code."""
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="Generate models, resources, catalog, JSON files and two pages of docs/ from spec/.",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail with a diff when a file is not up to date"
    )
    parser.add_argument("--project", type=Path, default=_PROJECT, help="folder with spec/ and panelica_async/")
    options = parser.parse_args(arguments)
    project: Path = options.project.resolve()
    try:
        files = generate(project / "spec")
    except SpecError as error:
        print(error, file=sys.stderr)
        return 2
    if not options.check:
        changed = write(files, project)
        for path in changed:
            print(f"wrote {path}" if path in files else f"deleted {path}")
        print(f"{len(changed)} of {len(files)} generated files changed")
        return 0
    diff = list(differences(files, project))
    if not diff:
        print(f"{len(files)} generated files are up to date")
        return 0
    sys.stdout.writelines(diff)
    command = COMMAND if project == _PROJECT else f"{COMMAND} --project {options.project}"
    print(f"\nGenerated files are not up to date. Run `{command}` and commit what it writes.", file=sys.stderr)
    return 1


def write(files: Mapping[Path, str], project: Path) -> list[Path]:
    """Bring the generated files of a project up to date and return the paths that changed.

    Files that the generator no longer writes are deleted.
    """
    stale = sorted(_existing_files(project) - files.keys())
    for path in stale:
        (project / path).unlink()
    changed = [path for path, text in files.items() if _text_of(project / path) != text]
    for path in changed:
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(files[path], encoding="utf-8")
    return stale + changed


def differences(files: Mapping[Path, str], project: Path) -> Iterator[str]:
    """Yield a unified diff for each file that is out of date."""
    for path in sorted(_existing_files(project) | files.keys()):
        diff = difflib.unified_diff(
            _text_of(project / path).splitlines(keepends=True),
            files.get(path, "").splitlines(keepends=True),
            f"{path.as_posix()} (as it is)",
            f"{path.as_posix()} (as generated)",
        )
        yield from diff


def _existing_files(project: Path) -> set[Path]:
    return {path.relative_to(project) for folder in _FOLDERS for path in (project / folder).glob("**/*.py")}


def _text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


if __name__ == "__main__":
    sys.exit(main())
