"""Runs the benchmarks, each in a process of its own: `python -m benchmarks [NAME ...] [--quick] [--json]`."""

import argparse
import json
import subprocess
import sys
from importlib.util import find_spec

_NAMES = ("overhead", "decode", "limiter", "import_time", "provisioning", "undo")


def main() -> int:
    """Run the benchmarks that are named, or all; return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What the package costs, measured.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(_NAMES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="measure for a shorter time")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON, by benchmark")
    options = parser.parse_args()
    if unknown := set(options.names).difference(_NAMES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(_NAMES)}")
    flags = [f"--{flag}" for flag in ("quick", "json") if getattr(options, flag)]
    figures, failed = {}, False
    for name in options.names or _NAMES:
        module = f"benchmarks.{name}"
        if find_spec(module) is None:
            print(f"skipped {name}: there is no {module}", file=sys.stderr)
            continue
        if not options.json:
            print(f"== {name} ==", flush=True)
        process = subprocess.run(  # noqa: S603 - modules of this package
            [sys.executable, "-m", module, *flags],
            stdout=subprocess.PIPE if options.json else None,
            text=True,
            check=False,
        )
        failed = failed or process.returncode != 0
        if options.json and process.returncode == 0:
            figures[name] = json.loads(process.stdout)
    if options.json:
        print(json.dumps(figures, indent=2))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
