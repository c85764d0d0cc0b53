"""Bulk provisioning: many sites from one manifest, with a plan before and a truthful report after.

```python
manifest = Manifest.load("launch.csv")
plan = await Plan.build(panel, manifest)  # only reads
print(plan.counts, plan.calls, plan.estimate(RateLimit.for_tier("professional")))
async for site in apply(panel, plan, journal="launch.journal", credentials="launch.passwords.csv"):
    print(site.domain, site.status, site.reason or "")
```

After a crash or a stop, `resume(panel, "launch.journal")` goes on without doing anything twice;
`undo(panel, "launch.journal")` takes back what was created, and nothing else.

How it works: `manifest` is what is asked for; `steps` turns it into single objects, each of which knows how it is
recognised and how it is made; `snapshot` reads what exists; `plan` compares the two, asks `allowances` what hosting
plans allow, and `remarks` what else is worth knowing; `engine` takes the steps of several sites at a time with
`execution`, which notes each call in the `journal` before and after it and finds out what became of a call without a
reply.
"""

from panelica_async.provision.apply import apply, resume
from panelica_async.provision.credentials import CredentialsFile, generate_password
from panelica_async.provision.journal import Journal, Record, Run, State
from panelica_async.provision.manifest import (
    Database,
    DatabaseUser,
    DnsRecord,
    FtpUser,
    Mailbox,
    Manifest,
    ManifestError,
    Owner,
    Problem,
    Reading,
    Remark,
    Site,
)
from panelica_async.provision.objects import Step, StepKind
from panelica_async.provision.plan import Action, Plan, PlannedStep, SitePlan
from panelica_async.provision.report import Event, SiteOutcome, SiteStatus, StepOutcome, StepStatus
from panelica_async.provision.runs import (
    JournalStatus,
    KnownJournal,
    RunDirectory,
    RunFiles,
    journal_on,
    missing_passwords,
    remaining_outcomes,
)
from panelica_async.provision.undo import Removal, RemovalStatus, is_removable, undo

Verdict = Action
"""The name of `Action` in earlier versions."""

__all__ = [
    "Action",
    "CredentialsFile",
    "Database",
    "DatabaseUser",
    "DnsRecord",
    "Event",
    "FtpUser",
    "Journal",
    "JournalStatus",
    "KnownJournal",
    "Mailbox",
    "Manifest",
    "ManifestError",
    "Owner",
    "Plan",
    "PlannedStep",
    "Problem",
    "Reading",
    "Record",
    "Remark",
    "Removal",
    "RemovalStatus",
    "Run",
    "RunDirectory",
    "RunFiles",
    "Site",
    "SiteOutcome",
    "SitePlan",
    "SiteStatus",
    "State",
    "Step",
    "StepKind",
    "StepOutcome",
    "StepStatus",
    "apply",
    "generate_password",
    "is_removable",
    "journal_on",
    "missing_passwords",
    "remaining_outcomes",
    "resume",
    "undo",
]
