"""What decoding a list costs: `python -m benchmarks.decode [--quick] [--json]`.

This decodes domains with eleven fields, from bytes to models, and compares that with orjson, which stops at dicts. Rows
have the fields of the reference, a field under another name, or a field that the package does not know; current panels
send the last two. The ratio is to orjson on the same bytes in the same round; the median of all rounds counts, because
other programs disturb single ones.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import orjson

from benchmarks import machine
from panelica_async.core.converter import decode
from panelica_async.models import Domain

_PROMISE = 3.1
"""The longest that decoding may take, as a multiple of orjson alone."""
_SIZES = (1, 100, 1_000)
"""Rows in a list; the promise is about the longest list."""
_ROWS = 2_000
"""Rows in a turn, in one or more lists."""
_DOMAIN = {
    "id": "7d3f0c1a-5b7e-4c57-9a0e-2f6f4d1f8b11",
    "domain": "example.com",
    "user_id": "2b0e7a64-0c0f-4a8e-8a5e-7a1d0c9b3e52",
    "status": "active",
    "php_version": "8.4",
    "web_server": "nginx",
    "document_root": "/home/user1/example.com/public_html",
    "ssl_enabled": True,
    "disk_usage_mb": 245,
    "bandwidth_mb": 1024,
    "created_at": "2026-01-15T10:30:00Z",
}
_KINDS: Mapping[str, Mapping[str, Any]] = {
    "plain": _DOMAIN,
    "alias": {("domain_name" if name == "domain" else name): value for name, value in _DOMAIN.items()},
    "unknown": {**_DOMAIN, "node_id": "node-7"},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode", description="What decoding a list costs.")
    parser.add_argument("--quick", action="store_true", help="measure for a shorter time")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    machine_description = machine.describe(("panelica_async", "orjson", "attrs", "cattrs"))
    machine.pin(machine.cores()[-1])
    rows = [_measure(kind, size, 20 if options.quick else 100) for kind in _KINDS for size in _SIZES]
    worst = max(row["ratio"] for row in rows if row["size"] == _SIZES[-1])
    target = {
        "value": worst,
        "promise": f"at most {_PROMISE} times orjson, lists of {_SIZES[-1]:,} rows",
        "met": worst <= _PROMISE,
    }
    if options.json:
        print(json.dumps({"machine": machine_description, "results": rows, "target": target}, indent=2))
        return
    print("\n".join(f"{name}: {value}" for name, value in machine_description.items()))
    print(f"\n{'rows':<10}{'size':>6}{'orjson us':>11}{'models us':>11}{'ratio':>8}")
    for row in rows:
        figures = f"{row['orjson_us']:>11.2f}{row['models_us']:>11.2f}{row['ratio']:>8.2f}"
        print(f"{row['kind']:<10}{row['size']:>6,}{figures}")
    print(f"\n{'met' if target['met'] else 'missed'}: {worst:.2f} ({target['promise']})")


def _measure(kind: str, size: int, rounds: int) -> dict[str, Any]:
    """Return the microseconds per row and their ratio, as medians over rounds in which both take a turn."""
    body, lists = orjson.dumps([_KINDS[kind]] * size), _ROWS // size
    decoders = (
        lambda: orjson.loads(body),
        lambda: decode(orjson.loads(body), list[Domain], endpoint="GET /v1/domains"),
    )
    turns = ([_measure_turn(decoder, lists) for decoder in decoders] for _ in range(rounds))
    [orjson_us, models_us] = zip(*turns, strict=True)
    return {
        "kind": kind,
        "size": size,
        "orjson_us": median(orjson_us),
        "models_us": median(models_us),
        "ratio": median(ours / theirs for ours, theirs in zip(models_us, orjson_us, strict=True)),
    }


def _measure_turn(decoder: Callable[[], object], lists: int) -> float:
    started = time.process_time()
    for _ in range(lists):
        decoder()
    return (time.process_time() - started) / _ROWS * 1e6


if __name__ == "__main__":
    main()
