"""Generated code is imported, called over HTTP, and type-checked with a program that uses it."""

import shutil
from pathlib import Path

import pytest

from codegen.__main__ import write
from codegen.render import generate
from tests.codegen.package_copy import REPOSITORY, copy_hand_written, run

pytestmark = pytest.mark.development
HERE = Path(__file__).parent
PROGRAM = "tiny_program.py"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("tiny")
    copy_hand_written(project)
    spec = shutil.copytree(HERE / "golden/spec", project / "spec")
    # The hand-written code needs a catalog that the tiny specification does not have.
    catalog = (REPOSITORY / "spec/catalog.yaml").read_text("utf-8")
    scopes = "".join(f'  - {{name: "parcels:{right}", title: Parcels}}\n' for right in ("read", "write", "delete"))
    (spec / "catalog.yaml").write_text(catalog.replace("\nscopes:\n", f"\nscopes:\n{scopes}"), "utf-8")
    write(generate(spec), project)
    shutil.copy(HERE / PROGRAM, project)
    return project


def test_every_operation_works_over_http(project: Path) -> None:
    done = run("-X", "dev", PROGRAM, project=project)
    assert (done.returncode, done.stderr) == (0, "")


def test_generated_code_and_the_program_are_well_typed(project: Path) -> None:
    package = ("models", "resources", "catalog.py")
    paths = [project / "panelica_async" / name for name in package]
    done = run("-m", "mypy", "--strict", "--cache-dir", project / "cache", PROGRAM, *paths, project=project)
    assert done.returncode == 0, done.stdout
