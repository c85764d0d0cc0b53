"""Help, usage and completion of the whole command."""

import subprocess
import sys
from pathlib import Path

import pytest

from panelica_async import __version__
from tests.cli.harness import MAIN, PROJECT, Command, environment

COMMANDS = [
    [], ["api"], ["doctor"], ["sandbox"], ["sign"], ["provision"],
    *(["provision", name] for name in ("plan", "apply", "resume", "status", "undo")),
    ["spec"], *(["spec", name] for name in ("search", "diff", "stubs")),
]  # fmt: skip

pytestmark = pytest.mark.once


def run_python(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=PROJECT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_shows_an_example(panelica: Command, command: list[str]) -> None:
    outcome = panelica(*command, "--help")
    assert outcome.code == 0
    assert "Example: panelica" in outcome.stdout
    assert " ".join(["panelica", *command]) in outcome.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_shows_no_types_of_python(panelica: Command, command: list[str]) -> None:
    assert "<" not in panelica(*command, "--help").stdout


def test_help_lists_the_main_command_first(panelica: Command) -> None:
    shown = panelica("--help").stdout.partition("Commands")[2]
    assert shown.index("provision") < min(shown.index(name) for name in ("doctor", "api", "spec", "sign", "sandbox"))


@pytest.mark.parametrize("command", [["api"], ["doctor"], ["provision", "plan"]], ids=" ".join)
def test_help_of_base_url_names_default_port(panelica: Command, command: list[str]) -> None:
    shown = " ".join(panelica(*command, "--help").stdout.replace("│", " ").split())
    assert "by default https and port 8443" in shown


def test_help_loads_no_module_that_makes_calls() -> None:
    code = """if True:
        import sys
        from panelica_async.cli import main
        try:
            main()
        except SystemExit:
            pass
        loaded = [name for name in sys.modules if name.startswith("panelica_async.")]
        loaded.remove("panelica_async.resources")  # it loads its namespaces when they are used
        loaded.remove("panelica_async.resources.registry")  # names alone; it loads modules when they are looked up
        calling = {f"panelica_async.api.{name}" for name in ("lists", "pagination", "panel_spec", "steps", "writes")}
        rooms = {"models", "resources", "sandbox", "provision", "doctor"}
        print([name for name in loaded if name in calling or name.split(".")[1] in rooms])
    """
    assert run_python(code, "provision", "--help").stdout.splitlines()[-1] == "[]"


def test_version_is_printed(panelica: Command) -> None:
    outcome = panelica("--version")
    assert (outcome.code, outcome.stdout) == (0, f"panelica_async {__version__}\n")


def test_call_without_a_command_lists_the_commands(panelica: Command) -> None:
    outcome = panelica()
    assert outcome.code == 2
    assert "provision" in outcome.stdout + outcome.stderr


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["api", "GET"], ["provision", "apply"], ["sandbox", "--port", "x"]]
)
def test_usage_when_wrong_exits_2(panelica: Command, arguments: list[str]) -> None:
    outcome = panelica(*arguments)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert "Usage: panelica" in outcome.stderr


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_command_without_extra_names_the_package(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; from panelica_async.cli import main; main()"
    ended = run_python(code, "--help")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == 'The command panelica needs more packages: pip install "panelica_async[cli]"\n'


def test_ctrl_c_while_modules_load_is_no_traceback() -> None:
    code = """if True:
        import sys

        class Interrupting:
            def find_spec(self, name, *_):
                if name == "panelica_async.cli.commands":
                    raise KeyboardInterrupt

        sys.meta_path.insert(0, Interrupting())
    """
    ended = run_python(f"{code}\n{MAIN}", "--help")
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "Interrupted.\n")


def completed(directory: Path, line: str) -> list[str]:
    """Return the completions of bash at the end of a line."""
    asked = environment(_PANELICA_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(line.split(" ")) - 1))
    command = [sys.executable, "-c", f"import sys; sys.argv[0] = 'panelica'; {MAIN}"]
    ended = subprocess.run(command, cwd=directory, env=asked, capture_output=True, text=True, check=False)
    return ended.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("panelica provision apply a.csv --sandbox-tier b", ["business"]),
        ("panelica provision plan a.csv --tier a", ["auto"]),
        ("panelica doctor --dialect r", ["reference"]),
        ("panelica sandbox --tier s", ["starter"]),
        ("panelica sandbox --dialect ", ["reference", "panel"]),
        ("panelica api P", ["POST", "PUT", "PATCH"]),
        ("panelica api POST /v1/dom", ["/v1/domains", "/v1/domains/{id}/suspend", "/v1/domains/{id}/unsuspend"]),
        ("panelica sign GET /v1/plan", ["/v1/plans"]),
    ],
)
def test_values_are_completed(tmp_path: Path, line: str, offered: list[str]) -> None:
    assert completed(tmp_path, line) == offered
