"""The specification of the project, read once."""

from pathlib import Path

import pytest

from codegen.panel import PanelOperation, load_panel
from codegen.spec import Specification, load

SPEC = Path(__file__).parents[2] / "spec"


@pytest.fixture(scope="session")
def specification() -> Specification:
    return load(SPEC)


@pytest.fixture(scope="session")
def panel_operations(specification: Specification) -> tuple[PanelOperation, ...]:
    """Return every operation of current panels."""
    return load_panel(SPEC, specification)
