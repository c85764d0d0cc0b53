"""What the options for columns do to a launch."""

import json
from pathlib import Path

import pytest

from tests.cli.harness import Command

EXPORT = (
    "Kunde,Domain,Login Name,Tarif,Server,Owner Email\n"
    "7,alder.example,alder,Starter,srv1.host.example,office@alder.example\n"
)
MAPPING = ("--column", "Login Name=username", "--column", "Tarif=plan", "--ignore-column", "kunde")


@pytest.fixture
def export(tmp_path: Path) -> None:
    (tmp_path / "export.csv").write_text(EXPORT)


@pytest.mark.usefixtures("export")
def test_columns_when_named_are_read(panelica: Command) -> None:
    result = panelica("provision", "plan", "export.csv", "--sandbox", "--json", *MAPPING)

    plan = json.loads(result.stdout)
    assert plan["sites"][0]["steps"][0]["arguments"] == {
        "username": "alder",
        "email": "office@alder.example",
        "plan": "Starter",
    }
    assert plan["ignored_columns"] == ["Kunde", "Server"]


@pytest.mark.usefixtures("export")
def test_resume_when_columns_were_named_reads_the_same(panelica: Command) -> None:
    applied = panelica("provision", "apply", "export.csv", "--sandbox", *MAPPING)
    resumed = panelica("provision", "resume", "export.csv", "--sandbox")

    assert (applied.code, resumed.code) == (0, 0)
    assert "1 already there" in resumed.stdout


@pytest.mark.usefixtures("export")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--column", "Tarif"), "--column must be NAME=FIELD, not 'Tarif'"),
        (("--column", "Tarif=preis"), "column 'Tarif' cannot be read as 'preis': a site has no such field"),
        (
            ("--column", "Tarif=plan", "--column", "Tarif=ssl"),
            "--column must map 'Tarif' to one field, not to 'plan' and 'ssl'",
        ),
        (("--column", "Tarif=plan", "--ignore-column", "TARIF"), "cannot be both read as 'plan' and ignored"),
        ((*MAPPING, "--ignore-column", "Notes"), "there is no such column"),
    ],
)
def test_column_option_when_invalid_exits_2(panelica: Command, options: tuple[str, ...], message: str) -> None:
    result = panelica("provision", "plan", "export.csv", "--sandbox", *options)

    assert result.code == 2
    assert message in result.stderr


@pytest.mark.usefixtures("export")
def test_ignored_columns_are_named_with_the_problems(panelica: Command) -> None:
    mapping = ("--column", "Login Name=username", "--column", "Tarif=email")
    shown = panelica("provision", "plan", "export.csv", "--sandbox", *mapping)
    data = panelica("provision", "plan", "export.csv", "--sandbox", "--json", *mapping)

    assert shown.code == 2
    assert "'Starter' is not an e-mail address" in shown.stderr
    assert "Note: ignored (columns Kunde, Owner Email, Server)." in shown.stderr
    assert data.json["error"]["remarks"][0] == {"where": "columns Kunde, Owner Email, Server", "text": "ignored"}
