"""What importing costs: `python -m benchmarks.import_time [--quick] [--json]`.

In fresh interpreters, one after another: aiohttp, attrs and cattrs first, which is the floor, then the package on top
of them, as `import panelica_async` and with the client, which is loaded when it is first touched.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from statistics import median

from benchmarks import machine

_PROMISE = 60.0
"""Milliseconds that `import panelica_async` may add."""

_FLOOR = "import aiohttp, attrs, cattrs"
_SUBJECTS = {
    "import panelica_async": "import panelica_async",
    "from panelica_async import PanelicaClient": "from panelica_async import PanelicaClient",
}
_PROGRAM = """
import time
started = time.perf_counter()
{floor}
between = time.perf_counter()
{subject}
print(between - started, time.perf_counter() - between)
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.import_time", description="What importing costs.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    figures = measure(5 if options.quick else 25)
    if options.json:
        print(json.dumps({"machine": machine.describe(["aiohttp", "attrs", "cattrs"]), "results": figures}, indent=2))
        return
    print(f"{'milliseconds, medians':<46}{'floor':>8}{'added':>8}{'ratio':>8}")
    for row in figures:
        print(f"{row['subject']:<46}{row['floor_ms']:>8.0f}{row['added_ms']:>8.0f}{row['ratio']:>8.2f}")
    added = figures[0]["added_ms"]
    print(f"{'met' if added <= _PROMISE else 'missed'}: import panelica_async adds at most {_PROMISE:.0f} ms")


def measure(rounds: int) -> list[dict[str, float | str]]:
    """Return floor and addition of each subject, and the ratio of both together to the floor."""
    _run("import panelica_async.client.client")  # so that no round compiles
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in _SUBJECTS}
    for _ in range(rounds):
        for name, subject in _SUBJECTS.items():
            floor, added = map(float, _run(_PROGRAM.format(floor=_FLOOR, subject=subject)).split())
            samples[name].append((floor * 1000, added * 1000))
    return [
        {
            "subject": name,
            "floor_ms": median(floor for floor, _ in taken),
            "added_ms": median(added for _, added in taken),
            "ratio": median((floor + added) / floor for floor, added in taken),
        }
        for name, taken in samples.items()
    ]


def _run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    return done.stdout


if __name__ == "__main__":
    main()
