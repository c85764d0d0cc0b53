"""Fields of a reply can be passed to another call, at run time and without a cast."""

import subprocess
import sys
from pathlib import Path

import pytest

from panelica_async import PanelicaClient

pytestmark = pytest.mark.once

PROGRAM = """
from panelica_async import PanelicaClient
from panelica_async.models import DnsRecord

async def copy(panel: PanelicaClient, zone_id: str, record: DnsRecord) -> DnsRecord:
    assert record.type is not None
    return await panel.dns.records.create(zone_id, name="copy", type=record.type, content=record.content)
"""


async def test_fields_of_a_record_create_its_copy(panel: PanelicaClient) -> None:
    account = await panel.accounts.create(username="acme", email="acme@example.com", password="correct horse 9")
    domain = await panel.domains.create(domain="acme.example", user_id=account.id)
    record = await panel.dns.records.create(domain.id, name="www", type="A", content="192.0.2.10")
    copy = await panel.dns.records.create(domain.id, name="copy", type=record.type, content=record.content)
    assert (copy.type, copy.content) == (record.type, record.content)


def test_copying_a_record_is_well_typed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(program)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
