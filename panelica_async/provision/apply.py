"""Applies a manifest: creates several sites at a time, each from its account to its FTP users.

A run ends early if it is stopped, or if every further call would fail (`stopping`).
"""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.core.address import is_same_panel
from panelica_async.core.operation import Dialect
from panelica_async.errors import ConfigurationError, PanelicaError
from panelica_async.provision.background import in_thread, open_in_background
from panelica_async.provision.credentials import CredentialsFile, StepPasswords
from panelica_async.provision.decisions import PlannedStep
from panelica_async.provision.executor import Executor
from panelica_async.provision.journal import Journal, journal_at
from panelica_async.provision.manifest import Manifest
from panelica_async.provision.objects import Step, StepKind
from panelica_async.provision.plan import Plan, SitePlan
from panelica_async.provision.results import Event, Progress, SiteOutcome, StepOutcome, StepStatus, reason_of
from panelica_async.provision.stopping import OutageWatch, StoppedError

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
        source: What to apply. For a manifest, a plan is made first; a plan from before the last run is made again.
        journal: Where each call is noted before and after it, or the path; needed for `resume`. None keeps the
            notes in memory.
        credentials: Where generated passwords are kept, or the path. None is fine when none are needed, or when the
            journal knows the file of an earlier run.
        concurrency: Sites worked on at a time, at least 1.
        on_event: Called after each call and each site, in the event loop; must not block.
        stop: Set it to stop gracefully: calls that were sent are finished, calls that wait for quota are not sent.
        settle: Seconds between a lost reply and the look-up of its object.

    Yields:
        One outcome for each site, in the order they are complete; after a stop, the remaining sites as skipped.

    Raises:
        ConfigurationError: The plan is for another panel, or the journal or the file of passwords cannot be used.
            Nothing was sent.
        PanelicaError: The lists could not be read; or, after the last outcome, the error that stopped the run because
            every further call would have met it too: a refused key, a panel that cannot be reached or does not answer
            any more, a spent quota.
        OSError: The file of passwords cannot be written any more; the run is aborted.
        sqlite3.Error: The journal cannot be written any more; the run is aborted.
    """
    if concurrency < 1:
        raise ConfigurationError(f"concurrency must be 1 or more, not {concurrency}")
    async with AsyncExitStack() as resources:
        journal = await resources.enter_async_context(journal_at(Journal.in_memory() if journal is None else journal))
        resources.enter_context(journal.reserved())
        journal.require_panel(panel.base_url)
        # A manifest may have thousands of sites: going through all of them is left to a thread.
        manifest = source.manifest if isinstance(source, Plan) else source
        await asyncio.to_thread(journal.require_manifest, manifest)
        dialect = await panel.learn_dialect()
        journal.require_dialect(dialect)
        plan = await _current_plan(panel, source, journal, dialect)
        credentials = await _open_credentials(credentials, plan, journal, resources)
        await in_thread(
            journal.begin,
            base_url=panel.base_url,
            manifest=plan.manifest,
            credentials_path=credentials.path if credentials else None,
            dialect=dialect,
        )
        await journal.commit()
        # These write the last notes of cancelled tasks.
        if credentials is not None:
            resources.callback(credentials.flush)
        resources.callback(journal.flush)
        progress = Progress(plan, on_event)
        stop = stop or asyncio.Event()
        executor = await asyncio.to_thread(
            Executor,
            panel,
            plan,
            journal,
            StepPasswords(credentials),
            stop=stop,
            settle=settle,
            on_list=progress.list_called,
        )
        outage = OutageWatch(concurrency)
        resources.callback(panel.subscribe(outage))
        run = _Run(plan, executor, journal, outage, progress, stop)
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
        stop: Set it to stop gracefully: calls that were sent are finished, calls that wait for quota are not sent.
        settle: Seconds between a lost reply and the look-up of its object.

    Yields:
        One outcome for each site of the manifest, as `apply` does.

    Raises:
        ConfigurationError: The journal, the manifest or the file of passwords cannot be used. Nothing was sent.
        PanelicaError: As `apply` does.
    """
    async with AsyncExitStack() as resources:
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


@attrs.define(eq=False)
class _Run:
    """Works on the sites of a plan, several at a time."""

    _plan: Plan
    _executor: Executor
    _journal: Journal
    _outage: OutageWatch
    _progress: Progress
    _stop: asyncio.Event
    _shared_outcomes: dict[str, StepOutcome] = attrs.field(init=False, factory=dict[str, StepOutcome])
    _account_locks: defaultdict[str, asyncio.Lock] = attrs.field(init=False, factory=lambda: defaultdict(asyncio.Lock))

    @property
    def fatal(self) -> PanelicaError | None:
        """The error that every further call would meet too, once there is one."""
        return self._executor.fatal or self._outage.error

    @property
    def is_stopping(self) -> bool:
        """Whether to execute no more steps."""
        return self._stop.is_set() or self.fatal is not None

    async def outcomes(self, concurrency: int) -> AsyncGenerator[SiteOutcome, None]:
        """Yield the outcome of each site as it is complete."""
        sites = iter(self._plan.sites)
        results: asyncio.Queue[SiteOutcome | BaseException] = asyncio.Queue()
        worker_count = min(concurrency, len(self._plan.sites))
        workers = [asyncio.create_task(self._work(sites, results)) for _ in range(worker_count)]
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
                self._progress.site_done(outcome)
                results.put_nowait(outcome)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - handed to the consumer, which raises it
            results.put_nowait(error)

    async def _provision(self, site: SitePlan) -> SiteOutcome:
        """Execute the steps of a site one after another."""
        outcomes: list[StepOutcome] = []
        for planned in site.steps:
            try:
                outcomes.append(await self._execute(planned))
            except StoppedError:
                return SiteOutcome.of(site.site.domain, outcomes, stopped=self._stop_reason())
        return SiteOutcome.of(site.site.domain, outcomes)

    async def _execute(self, planned: PlannedStep) -> StepOutcome:
        """Execute a step, unless the run is stopping. Sites that share an account wait for each other."""
        # Steps that need no call may follow one another by the thousand.
        await asyncio.sleep(0)
        if self.is_stopping:
            raise StoppedError
        step = planned.step
        if step.kind not in {StepKind.ACCOUNT, StepKind.DOMAIN}:
            return await self._execute_isolated(planned)
        account = step if step.kind is StepKind.ACCOUNT else step.parents[0]
        async with self._account_locks[account.id]:
            if step.id in self._shared_outcomes:
                return attrs.evolve(self._shared_outcomes[step.id], calls=0)
            outcome = self._shared_outcomes[step.id] = await self._execute_isolated(planned)
            return outcome

    async def _execute_isolated(self, planned: PlannedStep) -> StepOutcome:
        """Execute a step. An unexpected error fails this step only."""
        try:
            outcome = await self._executor.execute(planned)
        except (StoppedError, PanelicaError, OSError, sqlite3.Error):
            raise  # Without journal or passwords, no step may be executed.
        except Exception as error:  # noqa: BLE001 - one bad site stops no other
            outcome = await self._unexpected_failure(planned.step, error)
        if outcome.status in {StepStatus.FAILED, StepStatus.UNKNOWN}:
            self._outage.step_failed(planned.step.site)
        self._progress.step_done(planned, outcome)
        return outcome

    async def _unexpected_failure(self, step: Step, error: Exception) -> StepOutcome:
        """Return the outcome of a step that raised an unexpected error: uncertain if its call was sent."""
        # A reply may hold lone surrogates, which neither the journal nor a terminal can.
        reason = f"{type(error).__name__}: {error}".encode("utf-8", "backslashreplace").decode()
        record = self._journal.records.get(step.id)
        if record is None or not record.is_unanswered:
            return StepOutcome(step=step, status=StepStatus.FAILED, reason=reason)
        self._journal.unknown(step, reason)
        await self._journal.commit()
        return StepOutcome.uncertain(step, reason, calls=1)

    def _stop_reason(self) -> str:
        return "the run was interrupted" if self.fatal is None else f"the run was stopped: {reason_of(self.fatal)}"


async def _current_plan(panel: PanelicaClient, source: Plan | Manifest, journal: Journal, dialect: Dialect) -> Plan:
    """Return the plan to apply. One for another dialect, or from before the last run, is made again.

    Raises:
        ConfigurationError: The plan was made for another panel.
    """
    if not isinstance(source, Plan):
        return await Plan.build(panel, source, journal=journal)
    if source.base_url is not None and not is_same_panel(source.base_url, panel.base_url):
        raise ConfigurationError(
            f"the plan is for {source.base_url}, not for {panel.base_url}", hint="Make a plan for each panel."
        )
    updated = await in_thread(source.updated, journal) if source.abilities.dialect == dialect else None
    return updated or await Plan.build(panel, source.manifest, journal=journal)


async def _open_credentials(
    credentials: CredentialsFile | Path | str | None, plan: Plan, journal: Journal, resources: AsyncExitStack
) -> CredentialsFile | None:
    """Open the file of passwords that is named, or else that of the last run.

    Raises:
        ConfigurationError: There is none, and passwords would have to be generated.
    """
    if isinstance(credentials, CredentialsFile):
        return credentials
    if credentials is None and journal.runs:
        credentials = journal.runs[-1].credentials_now(journal.path)
    if credentials is not None:
        return resources.enter_context(await open_in_background(lambda _, path: CredentialsFile(path), credentials))
    if number := sum(step.step.password_needed and step.step.password is None for step in plan.new):
        need = "1 object needs" if number == 1 else f"{number:,} objects need"
        raise ConfigurationError(
            f"{need} a generated password, and there is no file to keep them in",
            hint="Name a file for the passwords with credentials=, or put the passwords into the manifest.",
        )
    return None
