"""The command line of the generator."""

import argparse
import sys
from pathlib import Path

from codegen.text import COMMAND

try:
    from codegen.output import differences, generate, write
    from codegen.yaml_nodes import SpecError
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] in {"codegen", "panelica_async"}:
        raise
    raise SystemExit(
        f"The generator needs {error.name}, which is not installed. Run `nox -s codegen`, which installs what it needs."
    ) from None

_PROJECT = Path(__file__).parent.parent


def main(arguments: list[str] | None = None) -> int:
    """Write the generated files, or compare them with `--check`; return the exit code."""
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="Generate models, resources, catalog, JSON files of the package and docs/operations.md from spec/.",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail with a diff when a file is not up to date"
    )
    parser.add_argument("--project", type=Path, default=_PROJECT, help="folder that holds spec/ and panelica_async/")
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


if __name__ == "__main__":
    sys.exit(main())
