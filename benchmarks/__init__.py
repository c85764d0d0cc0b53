"""Measures what the package costs: `python -m benchmarks`, or `nox -s bench`.

Every figure worth quoting is a ratio to a baseline of the same run, because machines and their load differ.
"""
