"""Sends calls to the panel: attempt by attempt, within time limits, quota and retry policy (start at `pipeline`).

Each attempt waits for quota first and is then signed afresh, so that no signature grows old in a queue.
"""
