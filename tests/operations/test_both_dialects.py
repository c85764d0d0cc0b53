"""A user's program for each operation of the published reference has the same effect in both dialects."""

import asyncio

import pytest

from panelica_async import UnsupportedOperationError
from panelica_async.resources.registry import MODULES, get_operation
from tests.support.both_dialects import PROGRAMS, run_program, table, table_on_page

NOT_SERVED = {"cloudflare.zones.sync", "ssl.certificates.list", "webhooks.events", "webhooks.logs", "webhooks.stats"}
"""Operations that current panels do not have (evidence: webhooks-absent, ssl-by-domain, cloudflare-sync-ip)."""

pytestmark = pytest.mark.once


def test_each_operation_of_both_dialects_has_a_program() -> None:
    in_both = {name for name in MODULES if get_operation(name).wires.keys() == {"reference", "panel"}}
    assert PROGRAMS.keys() == in_both | NOT_SERVED


@pytest.mark.parametrize("operation", PROGRAMS)
async def test_program_does_the_same_in_both_dialects(operation: str) -> None:
    reference, panel = await asyncio.gather(run_program("reference", operation), run_program("panel", operation))
    if operation in NOT_SERVED:
        assert isinstance(panel, UnsupportedOperationError)
        return
    assert reference == panel
    assert reference not in (None, "")


async def test_table_in_the_docs_is_up_to_date() -> None:
    assert await table() == table_on_page()
