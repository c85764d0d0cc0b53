"""Several limiters of one key in a process, and processes that fork, start and end."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import attrs
import pytest

from panelica_async.ratelimit import RateLimit, RateLimiter, ReserveRequest
from panelica_async.ratelimit.sqlite import HostCoordinator
from tests.ratelimit.test_sqlite import WINDOWS_ONLY

# An hour, so that no permit comes back while a slow machine runs the test.
SIXTY = attrs.evolve(WINDOWS_ONLY, minute_count=0, hour_count=60)
PATIENCE = 60.0
ROOT = Path(__file__).parents[2]

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what a process has open")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def claimed(coordinator: HostCoordinator, wanted: int) -> int:
    """Reserve all permits that are free now, in an event loop that ends."""

    async def main() -> int:
        got = 0
        while got < wanted:
            delays = (await coordinator.reserve(ReserveRequest(member="a", limit=SIXTY, wanted=wanted - got))).delays
            if not delays:
                break
            got += len(delays)
        return got

    return asyncio.run(main())


def program(text: str, *arguments: object) -> str:
    """Run a Python program and return its output; it must print no errors."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", text, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


SHORT_JOB = """
import sys
from panelica_async.ratelimit.sqlite import HostCoordinator
from tests.ratelimit.test_sqlite_processes import claimed
print(claimed(HostCoordinator("key", directory=sys.argv[1]), 10))
"""


@linux
def test_second_limiter_of_a_process_keeps_the_file(tmp_path):
    """A process that ends must not assume that no other process has the file open, and remove its log."""
    one, other = (HostCoordinator("key", directory=tmp_path) for _ in range(2))
    assert claimed(one, 10) + claimed(other, 10) == 20
    assert program(SHORT_JOB, tmp_path) == "10\n"
    assert not [name for name in open_files() if name.endswith("(deleted)") and str(tmp_path) in name]
    assert program(SHORT_JOB, tmp_path) == "10\n"
    assert claimed(one, 60) + claimed(other, 60) == 20
    one.close()
    other.close()


def open_files() -> list[str]:
    names = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            names.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue
    return names


@linux
@pytest.mark.parametrize("same_key", [True, False])
def test_closed_limiters_leave_neither_files_nor_threads(tmp_path, monkeypatch, same_key):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    files, threads = len(open_files()), threading.active_count()

    async def main() -> None:
        for number in range(40):
            limiter = RateLimiter.for_host(RateLimit(), key="key" if same_key else f"key {number}")
            await limiter.acquire()
            limiter.close()

    gc.collect()
    gc.disable()
    try:
        asyncio.run(main())
        deadline = time.monotonic() + PATIENCE
        while len(open_files()) > files or threading.active_count() > threads:
            assert time.monotonic() < deadline, (len(open_files()) - files, threading.active_count() - threads)
            time.sleep(0.01)
    finally:
        gc.enable()


JOBS = """
import asyncio, logging, os, sys
from panelica_async import RateLimitWaitError
from panelica_async.ratelimit import RateLimit, RateLimiter, shared, sqlite

shared.ANSWER_TIMEOUT = shared.LATENESS = sqlite._BUSY_TIMEOUT = 60.0  # the machine may be busy
logging.basicConfig(level=logging.WARNING)
kept = []

async def job():
    limiter = RateLimiter.for_host(RateLimit(per_hour=40), key="key")
    kept.append(limiter)  # as the garbage collector does, for a while
    passed = 0
    for _ in range(2):
        try:
            await limiter.acquire(max_wait=50)
            passed += 1
        except RateLimitWaitError:
            pass
    return passed

print(sum(asyncio.run(job()) for _ in range(15)))
"""


@pytest.mark.once
def test_event_loops_of_successive_jobs_share_the_quota(tmp_path):
    """Three processes and 90 calls, of which 40 may go; the limiters of ended loops are not closed."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", JOBS],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
            cwd=ROOT,
        )
        for _ in range(3)
    ]
    said = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [errors for _, errors in said] == ["", "", ""]
    assert sum(int(passed) for passed, _ in said) == 40


COLLECTED = """
import concurrent.futures.thread, gc, sys
from panelica_async.ratelimit.sqlite import HostCoordinator
from tests.ratelimit.test_sqlite_processes import claimed

coordinator = HostCoordinator("key", directory=sys.argv[1])
claimed(coordinator, 1)
with concurrent.futures.thread._global_shutdown_lock:
    del coordinator
    gc.collect()
print("collected")
"""


def test_garbage_collection_does_not_block_a_new_thread(tmp_path):
    """The garbage collector can run anywhere, even while the lock of all executors is held."""
    assert program(COLLECTED, tmp_path) == "collected\n"


FORKED = """
import asyncio, os, sys
from panelica_async.ratelimit import RateLimit, RateLimiter, shared
from panelica_async.ratelimit.sqlite import HostCoordinator
from tests.ratelimit.test_sqlite_processes import claimed

shared.ANSWER_TIMEOUT = 60.0  # the machine may be busy
coordinator = HostCoordinator("key", directory=sys.argv[1])
limiter = RateLimiter(RateLimit(), coordinator=coordinator)  # as at the import of a module
print(claimed(coordinator, 10), flush=True)
for _ in range(3):
    if os.fork() == 0:
        print(claimed(coordinator, 10), flush=True)
        asyncio.run(limiter.acquire())
        print(limiter._permits._member, flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
print(claimed(coordinator, 60), flush=True)
"""


@forks
def test_coordinator_is_used_before_and_after_a_fork(tmp_path):
    """The permits of the parent count for the children, and each child is a member of its own."""
    first, *children, last = program(FORKED, tmp_path).split()
    assert first == "10"
    assert children[::2] == ["10"] * 3
    assert len(set(children[1::2])) == 3
    assert int(last) == 60 - 40 - 3
