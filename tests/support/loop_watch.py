"""Measures how long an event loop is busy without a pause."""

import asyncio
import time

__all__ = ["longest_step"]


async def longest_step(until: asyncio.Event) -> float:
    """Return the most processor time that the loop spent between two passes."""
    longest, before = 0.0, time.thread_time()
    while not until.is_set():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, before = max(longest, now - before), now
    return longest
