"""The generated files of a tiny specification that has every feature once.

After a change of the generator: `python -m codegen --project tests/codegen/golden`, and read the difference.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from codegen import __main__ as command
from codegen.__main__ import differences, write
from codegen.render import generate

pytestmark = pytest.mark.development
REPOSITORY = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def generated() -> dict[Path, str]:
    return generate(GOLDEN / "spec")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return shutil.copytree(GOLDEN, tmp_path / "project")


def test_output_matches_the_golden_files(generated: dict[Path, str]) -> None:
    written = {path.relative_to(GOLDEN) for path in GOLDEN.rglob("*") if path.is_file()}
    assert generated.keys() == {path for path in written if path.parts[0] in {"panelica_async", "docs"}}
    for path, text in generated.items():
        assert text == (GOLDEN / path).read_text(encoding="utf-8"), path


def test_output_does_not_depend_on_the_process() -> None:
    # Another hash seed for strings, another folder, no environment.
    done = subprocess.run(
        [sys.executable, "-m", "codegen", "--check", "--project", str(GOLDEN)],
        env={"PYTHONHASHSEED": "5", "PYTHONPATH": str(REPOSITORY)},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "17 generated files are up to date\n"


def test_check_fails_with_a_diff_and_the_command(
    project: Path, generated: dict[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "generate", lambda _: generated)
    model = project / "panelica_async/models/utility.py"
    edited = model.read_text(encoding="utf-8").replace("Id of the thing.", "Id of what was found.")
    model.write_text(edited, encoding="utf-8")

    assert command.main(["--check", "--project", str(project)]) == 1

    out, err = capsys.readouterr()
    name = "panelica_async/models/utility.py"
    assert out.startswith(f"--- {name} (as it is)\n+++ {name} (as generated)\n")
    assert '-    """Id of what was found."""\n+    """Id of the thing."""\n' in out
    assert f"Run `python -m codegen --project {project}` and commit what it writes." in err
    assert model.read_text(encoding="utf-8") == edited


def test_stale_files_are_deleted(project: Path, generated: dict[Path, str]) -> None:
    stale = project / "panelica_async/models/letters.py"
    stale.write_text("LETTERS = 1\n", encoding="utf-8")
    assert "--- panelica_async/models/letters.py (as it is)\n" in list(differences(generated, project))
    write(generated, project)
    assert not stale.exists()
    assert list(differences(generated, project)) == []


def test_missing_files_are_written(project: Path, generated: dict[Path, str]) -> None:
    missing = project / "panelica_async/catalog.py"
    missing.unlink()
    assert "+++ panelica_async/catalog.py (as generated)\n" in list(differences(generated, project))
    write(generated, project)
    assert missing.is_file()


def test_invalid_specification_changes_no_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "spec/utility.yaml").write_text("tag: 1\n", encoding="utf-8")
    before = {path: path.read_bytes() for path in project.rglob("*.py")}
    assert command.main(["--project", str(project)]) == 2
    assert capsys.readouterr().err.startswith("spec/utility.yaml:1: `")
    assert {path: path.read_bytes() for path in project.rglob("*.py")} == before


def test_generated_code_keeps_the_rules_of_the_package(tmp_path: Path, generated: dict[Path, str]) -> None:
    for path, text in generated.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    (tmp_path / "panelica_async/__init__.py").write_text('"""A package."""\n', encoding="utf-8")
    for ruff in (["check"], ["format", "--diff"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *ruff, "--no-cache", "--config", str(REPOSITORY / "pyproject.toml"), "."],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
