"""Every operation of the specification has a test that is named after it and calls it with a real signature."""

import ast
import json
from pathlib import Path

from panelica_async.sandbox.handlers import HANDLERS

TESTS = Path(__file__).parent / "operations"
DOCUMENT = json.loads((Path(__file__).parents[2] / "panelica_async" / "openapi.json").read_text("utf-8"))


def operations() -> set[str]:
    return {
        operation["operationId"]
        for path in DOCUMENT["paths"].values()
        for operation in path.values()
        if isinstance(operation, dict) and "operationId" in operation
    }


def names_of_tests() -> list[str]:
    return [
        node.name
        for path in TESTS.glob("test_*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]


def test_every_behaviour_has_a_test_and_every_test_an_operation() -> None:
    """That each test calls what it is named after is checked by the fixture `box` of those tests.

    Operations without a behaviour of their own are tested by their examples, in `test_examples.py`.
    """
    assert len(names_of_tests()) == len(set(names_of_tests()))
    assert set(names_of_tests()) <= {_name_of_test(operation) for operation in operations()}
    assert set(names_of_tests()) >= {_name_of_test(operation) for operation in HANDLERS}


def _name_of_test(operation: str) -> str:
    return f"test_{operation.replace('.', '_')}"
