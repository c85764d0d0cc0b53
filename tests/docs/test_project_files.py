"""What contributors meet first: the hooks of pre-commit and the templates of issues fit the rest of the repository."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[2]


def local_hooks() -> list[dict[str, Any]]:
    config = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    return [hook for repository in config["repos"] if repository["repo"] == "local" for hook in repository["hooks"]]


def test_hooks_run_the_ruff_that_the_project_pins() -> None:
    pins = [pin for hook in local_hooks() for pin in hook["additional_dependencies"] if pin.startswith("ruff")]
    groups = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    assert set(pins) == {requirement for requirement in groups["dev"] if requirement.startswith("ruff")}


def test_hooks_run_sessions_that_nox_has() -> None:
    module = ast.parse((PROJECT / "noxfile.py").read_text(encoding="utf-8"))
    functions = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
    commands = [hook["entry"].split() for hook in local_hooks()]
    sessions = {words[2] for words in commands if words[:2] == ["nox", "-s"]}
    assert sessions
    assert sessions <= functions


def test_issue_templates_begin_with_the_header_github_needs() -> None:
    templates = sorted((PROJECT / ".github" / "ISSUE_TEMPLATE").glob("*.md"))
    assert templates
    for template in templates:
        header = re.match(r"---\n(.*?)\n---\n", template.read_text(encoding="utf-8"), re.DOTALL)
        assert header, template
        assert {"name", "about"} <= yaml.safe_load(header[1]).keys()
