"""Creates many sites from one manifest: plan, apply, resume, undo.

```python
manifest = Manifest.load("launch.csv")
plan = await Plan.build(panel, manifest)  # only reads
print(plan.counts, plan.calls, plan.estimate(RateLimit.for_tier("professional")))
async for site in apply(panel, plan, journal="launch.journal.db", credentials="launch.passwords.csv"):
    print(site.domain, site.status, site.reason or "")
```

After a crash or a stop, `resume(panel, "launch.journal.db")` continues without doing anything twice.
`undo(panel, "launch.journal.db")` deletes what the runs created, and nothing else.

How it works:

- `manifest` reads the requested sites. `objects` turns them into steps, one for each object, and knows how each kind is
  listed, compared, created and deleted.
- `plan` compares the requested sites with what exists. `decisions` chooses what to do with each step, from what exists,
  what earlier runs did, and what hosting plans allow; and remarks on what may surprise an operator.
- `apply` works on several sites at a time. `executor` executes each step: it notes the call in the `journal` before
  and after it, and looks for the object of a call without a reply. `ownership` judges whether the call created it.
  `results` holds the outcomes.
- `credentials` keeps generated passwords. `background` writes them and the notes to the disk, off the event loop.
- `undo` deletes what a journal says was created, after `search` has found it on the panel again and `ownership` has
  judged that the runs created it. `runs` chooses the journal of a manifest and a panel.
"""

from panelica_async.provision.apply import apply, resume
from panelica_async.provision.credentials import CredentialsFile, generate_password
from panelica_async.provision.decisions import Action, PlannedStep
from panelica_async.provision.journal import Journal
from panelica_async.provision.journal_records import Record, Run, State, is_removable
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
from panelica_async.provision.plan import Plan, SitePlan
from panelica_async.provision.results import (
    Event,
    Removal,
    RemovalStatus,
    SiteOutcome,
    SiteStatus,
    StepOutcome,
    StepStatus,
    remaining_outcomes,
)
from panelica_async.provision.runs import (
    JournalStatus,
    KnownJournal,
    RunDirectory,
    RunFiles,
    journal_on,
    missing_passwords,
)
from panelica_async.provision.undo import undo, undo_all

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
    "undo_all",
]
