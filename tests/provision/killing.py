"""A site with an object of each kind, created by hand, or by a run that is killed at one of them."""

from pathlib import Path

from panelica_async import PanelicaClient
from panelica_async.provision import Manifest, Plan, StepKind
from panelica_async.provision.objects import View, steps_of
from tests.provision.faulty_launch import kill
from tests.provision.faulty_panel import Fault, FaultyPanel, fail_first

MANIFEST = Manifest.from_data(
    [
        {
            "domain": "alder.example",
            "owner": {"username": "alder", "email": "office@alder.example"},
            "ssl": "self_signed",
            "dns": ["www A 192.0.2.10"],
            "databases": ["shop:reader"],
            "mailboxes": ["info"],
            "ftp_users": ["deploy"],
        }
    ]
)
[(_, STEPS)] = steps_of(MANIFEST)
STEP_OF = {step.kind: step for step in STEPS}
TABLES = {
    StepKind.ACCOUNT: "accounts",
    StepKind.DOMAIN: "domains",
    StepKind.CERTIFICATE: "certificates",
    StepKind.DATABASE: "databases",
    StepKind.MAILBOX: "email_accounts",
    StepKind.FTP_USER: "ftp_accounts",
}
PATHS = {
    StepKind.ACCOUNT: "/accounts",
    StepKind.DOMAIN: "/domains",
    StepKind.DNS_RECORD: "/records",
    StepKind.CERTIFICATE: "/certificates",
    StepKind.DATABASE: "/databases",
    StepKind.DATABASE_USER: "/users",
    StepKind.MAILBOX: "/email/accounts",
    StepKind.FTP_USER: "/ftp/accounts",
}
WITH_PASSWORD = [StepKind.ACCOUNT, StepKind.DATABASE_USER, StepKind.MAILBOX, StepKind.FTP_USER]


async def make(panel: PanelicaClient, kind: StepKind, password: str = "another-one") -> None:
    """Create an object as the manifest requests it, and what it depends on, as if by hand."""
    plan = await Plan.build(panel, MANIFEST)
    ids: dict[str, str | None] = {}
    for planned in plan.steps:
        step = planned.step
        if planned.object_id:
            ids[step.id] = planned.object_id
        elif step.kind is kind or step in STEP_OF[kind].parents:
            ids[step.id] = (await step.create(panel, View(snapshot=plan.snapshot, ids=ids), password)).id


async def killed_at(
    kind: StepKind, panel: PanelicaClient, proxy: FaultyPanel, journal_path: Path, credentials: Path, fault: Fault
) -> None:
    """Run until the create of a kind hangs, and leave the journal as a killed process does."""
    proxy.decide_writes(fail_first("POST", PATHS[kind], fault))
    await kill(panel, proxy, MANIFEST, journal_path, credentials)
