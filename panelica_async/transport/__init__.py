"""Sends calls to the panel, attempt by attempt, within time limits, quota and retry policy; start at `pipeline`.

Each attempt first waits for quota and is then signed, so that no signature ages in a queue.
"""
