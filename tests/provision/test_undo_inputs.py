"""Sites and journals that `undo` meets in a service."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from panelica_async.errors import ConfigurationError
from panelica_async.provision import Manifest, apply, undo
from panelica_async.sandbox import Sandbox
from tests.provision.launching import client, collect, state

pytestmark = pytest.mark.once


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(tier="enterprise") as box:
        yield box


async def test_sites_are_domains_in_any_spelling(box: Sandbox, tmp_path: Path) -> None:
    owner = {"username": "alder", "email": "office@alder.example", "password": "correct-horse"}
    names = ["alder.example", "blog.alder.example", "münchen.example"]
    manifest = Manifest.from_data([{"domain": name, "owner": owner} for name in names])
    async with client(box) as panel:
        await collect(apply(panel, manifest, journal=tmp_path / "run.journal"))
        for sites, message in (
            ("blog.alder.example", "sites must be a list of domains, not the text 'blog.alder.example'"),
            (["alder example"], "sites: "),
        ):
            with pytest.raises(ConfigurationError, match=message):
                await anext(undo(panel, tmp_path / "run.journal", sites=sites))
        sites = ["Blog.Alder.example.", "MÜNCHEN.example"]
        removed = {removal.record.id async for removal in undo(panel, tmp_path / "run.journal", sites=sites)}
    assert removed == {"domain:blog.alder.example", "domain:xn--mnchen-3ya.example"}
    assert [row[0] for row in state(box)["domains"]] == ["alder.example"]
