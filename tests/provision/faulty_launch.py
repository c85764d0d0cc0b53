"""A launch on a panel that fails, with its journal and passwords."""

import asyncio
import csv
from pathlib import Path

from panelica_async import PanelicaClient
from panelica_async.provision import Journal, Manifest, Plan, RemovalStatus, State, StepStatus, apply, undo
from panelica_async.sandbox import Sandbox
from tests.provision.faulty_panel import FaultyPanel
from tests.provision.launching import collect, state

PanelState = dict[str, list[tuple[object, ...]]]


async def kill(panel: PanelicaClient, proxy: FaultyPanel, manifest: Manifest, path: Path, credentials: Path) -> None:
    """Apply until the proxy has failed a call, and leave the journal as a killed process does."""
    with Journal.open(path) as journal:
        killed = asyncio.create_task(collect(apply(panel, manifest, journal=journal, credentials=credentials)))
        await proxy.reached.wait()
        # Notes made during cancellation are lost, as in a killed process.
        journal.close()
        killed.cancel()
        await asyncio.gather(killed, return_exceptions=True)


class Launch:
    """A launch of a manifest through a failing proxy, with its journal and passwords."""

    def __init__(
        self, box: Sandbox, proxy: FaultyPanel, panel: PanelicaClient, directory: Path, manifest: Manifest
    ) -> None:
        self.box, self.proxy, self.panel, self._manifest = box, proxy, panel, manifest
        self.journal, self.credentials = directory / "run.journal", directory / "p.csv"
        self.before = state(box)

    async def apply(self, source: Manifest | Plan | None = None) -> dict[str, StepStatus]:
        """Apply or resume; return the status of each step."""
        outcomes = apply(
            self.panel, source or self._manifest, journal=self.journal, credentials=self.credentials, settle=0
        )
        return {step.step.id: step.status for outcome in await collect(outcomes) for step in outcome.steps}

    async def kill(self) -> None:
        """Apply until the proxy has failed a call, and leave the journal as a killed process does."""
        await kill(self.panel, self.proxy, self._manifest, self.journal, self.credentials)
        assert list(self.states.values())[-1] is State.SENT

    @property
    def states(self) -> dict[str, State]:
        with Journal.open(self.journal, read_only=True) as journal:
            return {record.id: record.state for record in journal.records.values()}

    @property
    def passwords(self) -> set[str]:
        """The passwords that are valid according to the file."""
        with self.credentials.open(newline="") as file:
            latest = {(row["kind"], row["name"]): row["password"] for row in csv.DictReader(file)}
        return set(latest.values()) - {""}

    async def undo(self) -> dict[str, RemovalStatus]:
        return {removal.record.id: removal.status async for removal in undo(self.panel, self.journal, late=0)}

    def assert_complete(self, undisturbed: PanelState) -> None:
        assert state(self.box) == undisturbed
        assert self.proxy.used_passwords == self.passwords
        assert set(self.states.values()) == {State.DONE}

    async def assert_undone(self) -> None:
        removals = await self.undo()
        assert set(removals.values()) == {RemovalStatus.REMOVED}
        assert state(self.box) == self.before
        assert set(self.states.values()) == {State.REMOVED}
        assert await self.undo() == {}
