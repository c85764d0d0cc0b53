"""What the undo of a large journal costs: processor time, the longest step of the event loop, and memory.

This adds records to the journal of one site, about domains that the panel does not have; they say that the domain was
created, or that the outcome is unknown. A step of the loop is measured in processor time of its thread, and by the
clock, which includes the time of other threads and programs.
"""

import argparse
import asyncio
import json
import resource
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from benchmarks import machine
from benchmarks.provisioning import sandbox
from panelica_async.provision import Manifest, State, apply, undo

MANIFEST = Manifest.from_data([{"domain": "a.example", "owner": "ann", "email": "ann@mail.example"}])
ADD_RECORDS = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
INSERT INTO step (run, at, id, kind, site, state, parent_id, object_id)
SELECT 1, '2026-01-01T00:00:00+00:00', 'domain:x' || i || '.example', 'domain', 'x' || i || '.example', ?,
    'a' || (i / 10), iif(? = 'done', 'd' || i, NULL) FROM n
"""


class LongestStep:
    """Measures the longest step of the event loop, in seconds of processor time and by the clock."""

    def __init__(self) -> None:
        self.processor = self.clock = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        processor, clock = time.thread_time(), time.perf_counter()
        while True:
            await asyncio.sleep(0)
            last_processor, last_clock = processor, clock
            processor, clock = time.thread_time(), time.perf_counter()
            self.processor = max(self.processor, processor - last_processor)
            self.clock = max(self.clock, clock - last_clock)


async def measure(state: State, records: int) -> dict[str, float]:
    """Undo a journal with records in a state, and return the costs."""
    with tempfile.TemporaryDirectory() as directory:
        journal = Path(directory) / "run.journal"
        async with sandbox() as panel:
            async for _ in apply(panel, MANIFEST, journal=journal, credentials=Path(directory) / "passwords.csv"):
                pass
            with closing(sqlite3.connect(journal)) as connection, connection:
                connection.execute(ADD_RECORDS, (records, state.value, state.value))
            step = LongestStep()
            measuring = asyncio.create_task(step.run())
            started = time.thread_time()
            async for _ in undo(panel, journal):
                pass
            processor = time.thread_time() - started
            measuring.cancel()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"processor": processor, "step": step.processor, "step_by_clock": step.clock, "peak_mib": peak}


def main() -> int:
    """Measure and print; return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks undo", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure with fewer records")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    records = 20_000 if options.quick else 200_000
    figures = {state.value: asyncio.run(measure(state, records)) for state in (State.DONE, State.UNKNOWN)}
    if options.json:
        print(json.dumps(figures))
        return 0
    print(", ".join(f"{name}: {value}" for name, value in machine.describe(["panelica_async"]).items()))
    for state, costs in figures.items():
        step = f"longest step {costs['step'] * 1000:.0f} ms, {costs['step_by_clock'] * 1000:.0f} ms by the clock"
        print(f"{records:,} {state}: {costs['processor']:.1f} s in the event loop, {step}, {costs['peak_mib']:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
