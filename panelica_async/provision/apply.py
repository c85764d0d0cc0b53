"""Applies a manifest: several sites at a time, in the order of the manifest, each from account to FTP users."""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, aclosing
from datetime import datetime
from pathlib import Path

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.errors import ConfigurationError, PanelicaError
from panelica_async.provision.background import in_thread, opened
from panelica_async.provision.credentials import CredentialsFile
from panelica_async.provision.decisions import Action, PlannedStep
from panelica_async.provision.executor import Executor
from panelica_async.provision.journal import Journal, Record, State, journal_at
from panelica_async.provision.manifest import Manifest
from panelica_async.provision.objects import StepKind
from panelica_async.provision.outage import OutageWatch
from panelica_async.provision.plan import Plan, SitePlan
from panelica_async.provision.results import (
    NOT_SENT,
    Event,
    SiteOutcome,
    StepOutcome,
    StepStatus,
    reason_of,
)

CONCURRENCY = 8
"""Sites worked on at a time, by default."""
SETTLE = 2.0
"""Seconds between a lost reply and the look-up of its object, by default."""


async def apply(
    panel: PanelicaClient,
    source: Plan | Manifest,
    *,
    journal: Journal | Path | str | None = None,
    credentials: CredentialsFile | Path | str | None = None,
    concurrency: int = CONCURRENCY,
    on_event: Callable[[Event], None] | None = None,
    stop: asyncio.Event | None = None,
    settle: float = SETTLE,
) -> AsyncGenerator[SiteOutcome, None]:
    """Create the sites of a manifest and yield the outcome of each when it is complete.

    Objects that already match are kept; a conflict fails only its own site. With the journal of an earlier run, the
    run continues where that one ended, and nothing is done twice. Cancelling the task that consumes the iterator, or
    closing it (`contextlib.aclosing` does when a loop is left early), aborts the run: calls in flight are noted as
    unknown.

    Args:
        panel: The panel.
        source: What to apply. For a manifest, a plan is made first.
        journal: Where each call is noted before and after it, or the path; needed for `resume`. None keeps the
            notes in memory.
        credentials: Where generated passwords are kept, or the path. None is fine when none are needed, or when the
            journal knows the file of an earlier run.
        concurrency: Sites worked on at a time, at least 1.
        on_event: Called after each call and each site, in the event loop; must not block.
        stop: Set it to stop gracefully: calls in flight are finished, no new ones are sent.
        settle: Seconds between a lost reply and the look-up of its object.

    Yields:
        One outcome for each site, in the order they are complete; after a stop the rest as skipped.

    Raises:
        ConfigurationError: The journal or the file of passwords cannot be used. Nothing was sent.
        PanelicaError: The lists could not be read; or, after the last outcome, the error that stopped the run because
            every further call would have met it too: a refused key, a panel that cannot be reached or does not answer
            any more, a spent quota.
        OSError: The file of passwords cannot be written any more; the run is aborted.
        sqlite3.Error: The journal cannot be written any more; the run is aborted.
    """
    if concurrency < 1:
        raise ConfigurationError(f"concurrency must be 1 or more, not {concurrency}")
    async with AsyncExitStack() as resources:
        if not isinstance(journal, Journal):
            journal = await resources.enter_async_context(journal_at(journal)) if journal else Journal.in_memory()
        journal.require_panel(panel.base_url)
        # A manifest may have thousands of sites: what goes through all of them does so in a thread.
        manifest = source.manifest if isinstance(source, Plan) else source
        await asyncio.to_thread(journal.require_manifest, manifest)
        dialect = await panel.learn_dialect()
        journal.require_dialect(dialect)
        if isinstance(source, Plan):
            plan = await in_thread(source.updated, journal)
        else:
            plan = await Plan.build(panel, source, journal=journal)
        credentials = credentials or (journal.runs[-1].credentials_path if journal.runs else None)
        if credentials is not None and not isinstance(credentials, CredentialsFile):
            credentials = resources.enter_context(await opened(lambda _, path: CredentialsFile(path), credentials))
        if credentials is None and (number := _without_password(plan)):
            raise ConfigurationError(
                f"{number} objects need a generated password, and there is no file to keep them in",
                hint="Name a file for the passwords with credentials=, or put the passwords into the manifest.",
            )
        await in_thread(
            journal.begin,
            base_url=panel.base_url,
            manifest=plan.manifest,
            credentials_path=credentials.path if credentials else None,
            dialect=dialect,
        )
        await journal.commit()
        resources.callback(_flush, journal, credentials)
        progress = _Progress(plan, on_event)
        executor = await asyncio.to_thread(
            Executor, panel, plan, journal, credentials, settle=settle, on_list=progress.listed
        )
        outage = OutageWatch(concurrency)
        resources.callback(panel.subscribe(outage))
        run = _Run(plan, executor, journal, outage, progress, stop or asyncio.Event())
        async with aclosing(run.outcomes(concurrency)) as outcomes:
            async for outcome in outcomes:
                yield outcome
        if run.fatal is not None:
            raise run.fatal
        if not run.is_stopping:
            journal.finish()
            await journal.commit()


async def resume(
    panel: PanelicaClient,
    journal: Journal | Path | str,
    *,
    credentials: CredentialsFile | Path | str | None = None,
    concurrency: int = CONCURRENCY,
    on_event: Callable[[Event], None] | None = None,
    stop: asyncio.Event | None = None,
    settle: float = SETTLE,
) -> AsyncGenerator[SiteOutcome, None]:
    """Continue an interrupted run without doing anything twice; try failed steps again.

    The manifest and the file of passwords are those the journal names. For a manifest from Python data, which has no
    file, use `apply` with the same journal.

    Args:
        panel: The panel of the interrupted run.
        journal: Its journal, or the path.
        credentials: Another file for generated passwords, or its path.
        concurrency: Sites worked on at a time, at least 1.
        on_event: Called after each call and each site, in the event loop; must not block.
        stop: Set it to stop gracefully: calls in flight are finished, no new ones are sent.
        settle: Seconds between a lost reply and the look-up of its object.

    Yields:
        One outcome for each site of the manifest, as `apply` does.

    Raises:
        ConfigurationError: The journal, the manifest or the file of passwords cannot be used. Nothing was sent.
        PanelicaError: As `apply` does.
    """
    async with AsyncExitStack() as resources:
        if not isinstance(journal, Journal):
            journal = await resources.enter_async_context(journal_at(journal))
        outcomes = apply(
            panel,
            await asyncio.to_thread(journal.load_manifest),
            journal=journal,
            credentials=credentials,
            concurrency=concurrency,
            on_event=on_event,
            stop=stop,
            settle=settle,
        )
        async with aclosing(outcomes):
            async for outcome in outcomes:
                yield outcome


def remaining_outcomes(plan: Plan, outcomes: Iterable[SiteOutcome], journal: Journal) -> list[SiteOutcome]:
    """Return outcomes for the sites that have none because the run was aborted, as far as the journal knows.

    Args:
        plan: The plan that was applied.
        outcomes: What the run yielded.
        journal: Its journal.
    """
    known = {outcome.domain for outcome in outcomes}
    begun = journal.runs[-1].started_at if journal.runs else None
    found: list[SiteOutcome] = []
    for site in plan.sites:
        if site.site.domain not in known:
            steps = [_known(planned, journal.records.get(planned.step.id), begun) for planned in site.steps]
            known_steps = [step for step in steps if step is not None]
            found.append(SiteOutcome.of(site.site.domain, known_steps, stopped="the run was aborted"))
    return found


def _known(planned: PlannedStep, record: Record | None, begun: datetime | None) -> StepOutcome | None:
    """Return what is known of a step without its outcome; None when this run did not come to it."""
    step = planned.step
    if record is not None and record.is_unanswered:
        reason = record.reason or "sent, and the run was aborted before the reply"
        return StepOutcome.uncertain(step, reason)
    if planned.action is Action.KEEP:
        return StepOutcome(step=step, status=StepStatus.EXISTS, object_id=planned.object_id, reason=planned.reason)
    if record is None or begun is None or record.at < begun or record.reason == NOT_SENT:
        return None
    if record.state is State.FAILED:
        return StepOutcome(
            step=step,
            status=StepStatus.FAILED,
            reason=record.reason,
            code=record.code,
            request_id=record.request_id,
            calls=1,
        )
    status = StepStatus.CREATED if record.state is State.DONE else StepStatus.EXISTS
    return StepOutcome(step=step, status=status, object_id=record.object_id, reason=record.reason, calls=1)


@attrs.define(eq=False)
class _Run:
    """Works on the sites of a plan, several at a time."""

    _plan: Plan
    _executor: Executor
    _journal: Journal
    _outage: OutageWatch
    _progress: "_Progress"
    _stop: asyncio.Event
    _taken: dict[str, StepOutcome] = attrs.field(init=False, factory=dict[str, StepOutcome])
    _accounts: defaultdict[str, asyncio.Lock] = attrs.field(init=False, factory=lambda: defaultdict(asyncio.Lock))

    @property
    def fatal(self) -> PanelicaError | None:
        """The error that every further call would meet too, once there is one."""
        return self._executor.fatal or self._outage.error

    @property
    def is_stopping(self) -> bool:
        """Whether to take no more steps."""
        return self._stop.is_set() or self.fatal is not None

    async def outcomes(self, concurrency: int) -> AsyncGenerator[SiteOutcome, None]:
        """Yield the outcome of each site as it is complete."""
        sites = iter(self._plan.sites)
        results: asyncio.Queue[SiteOutcome | BaseException] = asyncio.Queue()
        workers = [asyncio.create_task(self._work(sites, results)) for _ in range(concurrency)]
        try:
            for _ in self._plan.sites:
                result = await results.get()
                if isinstance(result, BaseException):
                    raise result
                yield result
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, sites: Iterator[SitePlan], results: asyncio.Queue[SiteOutcome | BaseException]) -> None:
        try:
            for site in sites:
                outcome = await self._provision(site)
                self._progress.site(outcome)
                results.put_nowait(outcome)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - handed to the consumer, which raises it
            results.put_nowait(error)

    async def _provision(self, site: SitePlan) -> SiteOutcome:
        """Take the steps of a site one after another."""
        outcomes: list[StepOutcome] = []
        for planned in site.steps:
            # A step whose object is there takes no call, and thousands of them may follow one another.
            await asyncio.sleep(0)
            if self.is_stopping:
                return SiteOutcome.of(site.site.domain, outcomes, stopped=self._why_stopping())
            outcomes.append(await self._take(planned))
        return SiteOutcome.of(site.site.domain, outcomes)

    async def _take(self, planned: PlannedStep) -> StepOutcome:
        """Take a step; sites that share an account take its steps in turn, and create it once."""
        step = planned.step
        if step.kind not in {StepKind.ACCOUNT, StepKind.DOMAIN}:
            return await self._take_alone(planned)
        account = step if step.kind is StepKind.ACCOUNT else step.parents[0]
        async with self._accounts[account.id]:
            if step.id in self._taken:
                return attrs.evolve(self._taken[step.id], calls=0)
            outcome = self._taken[step.id] = await self._take_alone(planned)
            return outcome

    async def _take_alone(self, planned: PlannedStep) -> StepOutcome:
        """Take a step. An unforeseen error fails this step only."""
        try:
            outcome = await self._executor.take(planned)
        except (PanelicaError, OSError, sqlite3.Error):
            raise  # No step may be taken without journal or passwords.
        except Exception as error:  # noqa: BLE001 - one bad site stops no other
            outcome = await self._unforeseen(planned, error)
        if outcome.status in {StepStatus.FAILED, StepStatus.UNKNOWN}:
            self._outage.missed(planned.step.site)
        self._progress.step(planned, outcome)
        return outcome

    async def _unforeseen(self, planned: PlannedStep, error: Exception) -> StepOutcome:
        """Return the outcome of a step with an unforeseen error: uncertain if its call was sent."""
        step = planned.step
        # A reply may hold what neither the journal nor a terminal can: lone surrogates.
        reason = f"{type(error).__name__}: {error}".encode("utf-8", "backslashreplace").decode()
        record = self._journal.records.get(step.id)
        if record is None or not record.is_unanswered:
            return StepOutcome(step=step, status=StepStatus.FAILED, reason=reason)
        self._journal.unknown(step, reason)
        await self._journal.commit()
        return StepOutcome.uncertain(step, reason, calls=1)

    def _why_stopping(self) -> str:
        return "the run was interrupted" if self.fatal is None else f"the run was stopped: {reason_of(self.fatal)}"


class _Progress:
    """Counts calls and sites, and reports them to the caller."""

    def __init__(self, plan: Plan, on_event: Callable[[Event], None] | None) -> None:
        self._on_event = on_event
        self._sites_done = 0
        self._sites_total = len(plan.sites)
        self._calls_done = plan.list_calls
        self._calls_expected = plan.calls

    def listed(self) -> None:
        """Count a list call that no plan foresees."""
        self._calls_done += 1
        self._calls_expected += 1
        self._report()

    def step(self, planned: PlannedStep, outcome: StepOutcome) -> None:
        """Count the calls of a step."""
        self._calls_done += outcome.calls
        self._calls_expected += outcome.calls - planned.writes
        self._report(step=outcome)

    def site(self, outcome: SiteOutcome) -> None:
        """Count a site."""
        self._sites_done += 1
        self._report(site=outcome)

    def _report(self, *, step: StepOutcome | None = None, site: SiteOutcome | None = None) -> None:
        if self._on_event is None:
            return
        self._on_event(
            Event(
                sites_done=self._sites_done,
                sites_total=self._sites_total,
                calls_done=self._calls_done,
                calls_expected=self._calls_expected,
                step=step,
                site=site,
            )
        )


def _flush(journal: Journal, credentials: CredentialsFile | None) -> None:
    """Write the last notes of cancelled tasks."""
    try:
        journal.flush()
    finally:
        if credentials is not None:
            credentials.flush()


def _without_password(plan: Plan) -> int:
    """Return for how many objects a password would have to be generated."""
    return sum(
        planned.action is Action.CREATE and planned.step.password_needed and planned.step.password is None
        for planned in plan.steps
    )
