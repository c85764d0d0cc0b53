"""What the package costs, measured: `python -m benchmarks`, or `nox -s bench`.

Every figure worth quoting is a ratio to a baseline of the same run, because machines differ and other programs run.
"""
