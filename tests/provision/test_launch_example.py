"""The example of the README: a hundred sites, at least eight hundred calls."""

from pathlib import Path

from panelica_async.provision import Manifest, Plan, SiteStatus, apply
from panelica_async.sandbox import Sandbox
from tests.provision.launching import client, collect, state

LAUNCH = Path(__file__).parents[2] / "examples" / "launch.csv"


def test_example_looks_like_a_hosters_export() -> None:
    manifest = Manifest.load(LAUNCH)

    assert len(manifest.sites) == 100
    assert 60 <= len({site.owner.username for site in manifest.sites}) <= 70
    assert manifest.ignored_columns == ("Customer No", "Customer Since")
    assert all(site.domain.endswith((".example", ".test")) for site in manifest.sites)
    assert any(site.domain.startswith("xn--") for site in manifest.sites)
    assert "password" not in LAUNCH.read_text("utf-8").lower()


async def test_example_when_applied_twice_is_launched_once(tmp_path: Path) -> None:
    manifest = Manifest.load(LAUNCH)
    options = {"journal": tmp_path / "launch.journal", "credentials": tmp_path / "passwords.csv"}
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        plan = await Plan.build(panel, manifest)
        assert plan.writes >= 830
        assert not plan.conflicts
        outcomes = await collect(apply(panel, plan, **options))
        assert {outcome.status for outcome in outcomes} == {SiteStatus.DONE}
        assert sum(outcome.calls for outcome in outcomes) == plan.writes
        launched = state(box)

        for again in (options, {"credentials": tmp_path / "passwords.csv"}):
            outcomes = await collect(apply(panel, manifest, **again))
            assert {outcome.status for outcome in outcomes} == {SiteStatus.EXISTS}
            assert sum(outcome.calls for outcome in outcomes) == 0
        assert state(box) == launched
