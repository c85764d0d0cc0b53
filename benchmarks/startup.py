"""What a program waits for at its start, compared with another checkout: `python -m benchmarks.startup CHECKOUT`.

Fresh interpreters import the client and make a first call, in turns with the checkout; aiohttp, attrs and cattrs are
already imported. Time is the processor time of the process, which other programs disturb least; memory is what Python
has allocated. Figures are medians of all rounds; ratios are to the checkout, in the same run. Make the checkout with
`git worktree add ../before COMMIT`.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import machine
from benchmarks.server import running_server

_PROMISE = 1.1
"""The most that this checkout may cost, as a multiple of the other."""
_HERE = Path(__file__).parents[1]
_CALLS = {
    "accounts.get": "panel.accounts.get('1')",
    "domains.get": "panel.domains.get('1')",
    "email.accounts.create": "panel.email.accounts.create(local_part='info', domain_id='1', password='bench-bench-1')",
}
_PROGRAM = """
import sys
sys.path.insert(0, {checkout!r})
import asyncio, gc, time, aiohttp, attrs, cattrs
if {traced}:
    import tracemalloc
    gc.collect()
    tracemalloc.start()
    def figure():
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / 1024
else:
    def figure():
        return time.process_time() * 1000
began = figure()
from panelica_async import PanelicaClient
imported = figure()
async def main():
    key = dict(api_key="pk_live_bench", api_secret="sk_live_bench", tier="enterprise", dialect="reference")
    async with PanelicaClient({base_url!r}, **key) as panel:
        ready = figure()
        await {call}
        return figure() - ready
first = asyncio.run(main())
print(imported - began, first)
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description="What a start costs.")
    parser.add_argument("checkout", type=Path, help="folder of the checkout to compare with")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    if not (options.checkout / "panelica_async").is_dir():
        parser.error(f"{options.checkout} is not a checkout of this project")
    with running_server(machine.cores()[0]) as base_url:
        rows = _measure(options.checkout.resolve(), base_url, 5 if options.quick else 25)
    if options.json:
        print(json.dumps({"machine": machine.describe(["aiohttp", "attrs", "cattrs"]), "results": rows}, indent=2))
        return
    print(f"{'medians':<36}{'before':>10}{'now':>10}{'ratio':>8}")
    for row in rows:
        print(f"{row['subject']:<36}{row['before']:>10.1f}{row['now']:>10.1f}{row['ratio']:>8.3f}")
    is_met = all(row["ratio"] <= _PROMISE for row in rows)
    print(f"{'met' if is_met else 'missed'}: at most {_PROMISE} times the checkout")


def _measure(checkout: Path, base_url: str, rounds: int) -> list[dict[str, Any]]:
    """Return the medians of both checkouts and their ratio, for each subject."""
    samples: dict[str, list[tuple[float, float]]] = {}
    # The first round compiles the modules.
    for number in range(rounds + 1):
        for call, code in _CALLS.items():
            for traced in (False, True):
                # Alternate the order, so that neither always comes first.
                order = (checkout, _HERE) if number % 2 else (_HERE, checkout)
                figures = {folder: _run(folder, base_url, code, traced=traced) for folder in order}
                for name, before, now in zip(
                    ("import", f"first {call}"), figures[checkout], figures[_HERE], strict=True
                ):
                    if number:
                        samples.setdefault(f"{name}, {'KiB' if traced else 'ms'}", []).append((before, now))
    rows = []
    for subject, pairs in sorted(samples.items(), key=lambda item: not item[0].startswith("import")):
        before, now = (median(column) for column in zip(*pairs, strict=True))
        rows.append({"subject": subject, "before": before, "now": now, "ratio": now / before})
    return rows


def _run(checkout: Path, base_url: str, call: str, *, traced: bool) -> tuple[float, float]:
    """Return the costs of the import and of the call in a fresh interpreter: milliseconds, or KiB if traced."""
    program = _PROGRAM.format(checkout=str(checkout), base_url=base_url, call=call, traced=traced)
    # Real programs load compiled modules, so allow Python to write them.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.run(  # noqa: S603 - the program above
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment, cwd=checkout
    )
    import_cost, call_cost = process.stdout.split()
    return float(import_cost), float(call_cost)


if __name__ == "__main__":
    main()
