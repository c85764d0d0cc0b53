"""The sandbox accepts every name, record and value that a manifest accepts, in every spelling."""

from pathlib import Path

from panelica_async.provision import Action, Manifest, Plan, apply
from panelica_async.sandbox import Sandbox
from tests.provision.launching import client, collect

RECORDS = [
    "*.bücher.example. 1h IN A 192.0.2.1",
    "BÜCHER.example IN 300 AAAA 2001:DB8::1",
    '_acme-challenge\tTXT\t("one" "two") ; comment',
    "www in cname @",
    "@ MX 10 почта.example",
    "_sip._tcp SRV 10 5 5060 büro.bücher.example.",
    "_imap._tcp SRV 0 0 0 .",
    '@ CAA 0 ISSUE "Bücher.example; validationmethods=dns-01"',
    '@ CAA 128 issuewild ";"',
    '@ CAA 0 iodef "mailto:office@bücher.example"',
    "@ NS ns1.example.net.",
    "例え TXT v=spf1\\; -all",
    f"{'x' * 63} TXT {'y' * 2000}",
    "10 PTR host.example.net",
]
SITE = {
    "domain": "Bücher.example.",
    "username": "Alder-Shop",
    "email": "O'Brien@bücher.example",
    "plan": "starter",
    "php_version": "ea-php84",
    "ssl": "Let's Encrypt",
    "dns": "|".join(RECORDS),
    "databases": "postgresql/shop:app:Secret99a, SHOP_2:two+three:Other88bb",
    "mailboxes": f"Info@BÜCHER.example, a.b+c_d-e::1024, {'m' * 64}",
    "ftp_users": "web::htdocs, deploy@bucher.example::/a//b/:0; all::/",
}


async def test_sandbox_accepts_what_a_manifest_accepts(tmp_path: Path) -> None:
    manifest = Manifest.from_rows([SITE])
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        plan = await Plan.build(panel, manifest)
        outcomes = await collect(apply(panel, plan, credentials=tmp_path / "passwords.csv"))
        assert [(outcome.status, outcome.reason) for outcome in outcomes] == [("done", None)]
        assert {request.status for request in box.requests} <= {200, 201}

        # The created objects are recognised in any spelling of the panel.
        again = await Plan.build(panel, manifest)
        assert {planned.action for planned in again.steps} == {Action.KEEP}
