"""The quota file of a host, with faults of clocks, disks and processes."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import attrs
import pytest

from panelica_async.errors import ConfigurationError
from panelica_async.ratelimit import RateLimit, RateLimiter, Reservation, ReserveRequest, SharedLimit
from panelica_async.ratelimit.limit import Quota
from panelica_async.ratelimit.sqlite import HostCoordinator, QuotaFile
from panelica_async.ratelimit.store import LATENESS, MAX_LEAD

LIMIT = RateLimit(per_minute=60, per_hour=100, burst=100)
SHARED_LIMIT = SharedLimit.of(Quota(LIMIT))
WINDOWS_ONLY = attrs.evolve(SHARED_LIMIT, interval=0.0, tolerance=0.0)  # nothing but the windows


@attrs.define
class Machine:
    """The clocks of a host."""

    monotonic: float = 5000.0
    wall: float = 1_767_268_800.0
    boot: str = "first"

    def sleep(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds

    def reboot(self, seconds: float, uptime: float = 20.0) -> None:
        self.wall += seconds
        self.monotonic = uptime
        self.boot += "'"


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def file(tmp_path, machine):
    file = QuotaFile(
        tmp_path / "cache" / "quota.sqlite3",
        monotonic=lambda: machine.monotonic,
        wall=lambda: machine.wall,
        boot=lambda: machine.boot,
    )
    yield file
    file.close()


def spend(file: QuotaFile, count: int, limit: SharedLimit = WINDOWS_ONLY) -> int:
    """Reserve all permits that are free now; return how many there were."""
    got = 0
    while got < count:
        delays = file.reserve(ReserveRequest(member="a", limit=limit, wanted=count - got)).delays
        now = [delay for delay in delays if delay <= 1e-6]
        got += len(now)
        if len(now) < len(delays) or not delays:
            break
    return got


def opens_in(file: QuotaFile) -> float:
    return file.reserve(ReserveRequest(member="b", limit=WINDOWS_ONLY)).opens_in


class TestClocks:
    def test_windows_open_after_their_period(self, file, machine):
        assert spend(file, 80) == 60
        assert opens_in(file) == pytest.approx(60.6 + LATENESS)
        machine.sleep(61)
        assert spend(file, 80) == 40  # the hour
        assert opens_in(file) == pytest.approx(3600.6 + LATENESS - 61)

    @pytest.mark.parametrize("step", [-86_400, -5, 5, 86_400])
    def test_step_of_the_wall_clock_changes_nothing(self, file, machine, step):
        spend(file, 60)
        machine.sleep(30)
        machine.wall += step
        assert opens_in(file) == pytest.approx(31)
        machine.sleep(10)
        assert opens_in(file) == pytest.approx(21)

    @pytest.mark.parametrize("uptime", [20, 6000])
    def test_reboot_counts_the_time_it_took(self, file, machine, uptime):
        spend(file, 60)
        machine.reboot(40, uptime)
        assert opens_in(file) == pytest.approx(21)
        machine.sleep(21.1)
        assert spend(file, 80) == 40

    def test_reboot_with_the_clock_set_back_restarts_the_waits(self, file, machine):
        spend(file, 60)
        machine.reboot(-1_000_000)
        assert opens_in(file) == pytest.approx(61)

    def test_quota_without_a_boot_id_survives_a_reboot(self, file, machine):
        machine.boot = ""
        spend(file, 60)
        machine.monotonic, machine.wall = 3.0, machine.wall + 40
        assert opens_in(file) == pytest.approx(21)

    def test_pause_survives_a_reboot(self, file, machine):
        file.reserve(ReserveRequest(member="a", limit=WINDOWS_ONLY, pause=300, refused=True))
        machine.reboot(100)
        assert opens_in(file) == pytest.approx(200)


class TestMembers:
    def test_members_are_counted_shortly_beyond_their_wait(self, file, machine):
        first = file.reserve(ReserveRequest(member="a", limit=SHARED_LIMIT, wanted=1))
        second = file.reserve(ReserveRequest(member="b", lane="bulk", limit=SHARED_LIMIT, wanted=1))
        assert (first.members, second.members) == (1, 2)
        machine.sleep(10)
        assert file.reserve(ReserveRequest(member="c", limit=SHARED_LIMIT, wanted=1)).members == 1

    def test_permits_are_not_granted_far_ahead(self, file, machine):
        spend(file, 60)
        claim = file.reserve(ReserveRequest(member="a", limit=WINDOWS_ONLY, wanted=1))
        assert claim.delays == ()
        assert claim.opens_in == pytest.approx(61)
        machine.sleep(claim.retry_in)
        (delay,) = file.reserve(ReserveRequest(member="a", limit=WINDOWS_ONLY, wanted=1)).delays
        assert delay == pytest.approx(61 - claim.retry_in)

    def test_retry_comes_well_before_the_window_opens(self, file):
        """Members queue for the first permit instead of all asking at once."""
        spend(file, 60)
        claim = file.reserve(ReserveRequest(member="a", limit=WINDOWS_ONLY, wanted=1))
        assert claim.opens_in - MAX_LEAD <= claim.retry_in <= claim.opens_in - 1

    def test_usage_the_panel_reports_is_counted_once(self, file, machine):
        spend(file, 20)
        for _ in range(3):
            file.reserve(ReserveRequest(member="a", limit=WINDOWS_ONLY, minute_usage=50, hour_usage=50))
        assert spend(file, 80) == 10

    def test_unrecorded_requests_are_added(self, file):
        spend(file, 20)
        file.reserve(ReserveRequest(member="a", limit=WINDOWS_ONLY, unrecorded=((0.0, 25),)))
        assert spend(file, 80) == 15

    def test_report_of_this_instant_explains_a_guess(self, file):
        """The panel counted the very requests that a member has not reported yet."""
        file.reserve(ReserveRequest(member="a", limit=WINDOWS_ONLY, minute_usage=10, hour_usage=10))
        file.reserve(ReserveRequest(member="a", limit=WINDOWS_ONLY, unrecorded=((0.0, 10),)))
        assert spend(file, 80) == 50

    def test_endless_pause_lasts_an_hour(self, file):
        paused = file.reserve(ReserveRequest(member="a", limit=WINDOWS_ONLY, pause=1e9, wanted=1))
        assert paused.opens_in == pytest.approx(3600)

    def test_member_of_a_lost_memory_reports_before_it_gets_permits(self, file):
        request = ReserveRequest(member="a", store="lost", limit=WINDOWS_ONLY, wanted=1, unrecorded=((1.0, 59),))
        reported = file.reserve(request)
        assert (reported.delays, reported.retry_in) == ((), 0)
        again = attrs.evolve(request, store=reported.store, unrecorded=())
        assert len(file.reserve(again).delays) == 1

    def test_member_of_a_lost_memory_asks_again_at_once(self, file):
        """The quota is used up, and other members have reported what the first one learns of."""
        request = ReserveRequest(member="a", store="lost", limit=WINDOWS_ONLY, wanted=1, unrecorded=((1.0, 60),))
        assert file.reserve(request).retry_in == 0

    def test_report_lasts_a_window_at_most(self, file):
        file.reserve(ReserveRequest(member="a", limit=WINDOWS_ONLY, minute_usage=10**9, hour_usage=10**9))
        assert opens_in(file) == pytest.approx(3601)

    def test_gone_members_leave_no_rows(self, file, machine):
        for number in range(20):
            file.reserve(ReserveRequest(member=f"member {number}", limit=SHARED_LIMIT, wanted=1))
            machine.sleep(10)
        assert file._database.execute("SELECT COUNT(*) FROM members").fetchone() == (1,)


class TestFile:
    def test_files_are_private_to_the_user(self, file, tmp_path):
        spend(file, 1)
        files = list((tmp_path / "cache").iterdir())
        assert len(files) >= 1
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700

    @pytest.mark.parametrize("garbage", [b"no database at all" * 500, b"SQLite format 3\0" + b"\xff" * 8000])
    def test_broken_file_is_replaced(self, file, tmp_path, garbage):
        store = file.reserve(ReserveRequest(member="a", limit=SHARED_LIMIT, wanted=1)).store
        file.close()
        (tmp_path / "cache" / "quota.sqlite3").write_bytes(garbage)
        claim = file.reserve(ReserveRequest(member="a", limit=SHARED_LIMIT, wanted=1))
        assert len(claim.delays) == 1
        assert claim.store != store

    def test_removed_file_is_replaced_by_all_members(self, file, machine, tmp_path):
        other = QuotaFile(
            tmp_path / "cache" / "quota.sqlite3",
            monotonic=lambda: machine.monotonic,
            wall=lambda: machine.wall,
            boot=lambda: machine.boot,
        )
        try:
            spend(file, 30)
            spend(other, 10)
            for name in (tmp_path / "cache").iterdir():
                name.unlink()
            assert spend(file, 40) == 40
            assert spend(other, 40) == 20
        finally:
            other.close()

    def test_first_use_waits_while_another_process_reads(self, file, tmp_path, monkeypatch):
        path = tmp_path / "cache" / "quota.sqlite3"
        path.parent.mkdir(mode=0o700)
        other = sqlite3.connect(path, isolation_level=None)
        path.chmod(0o600)
        other.execute("CREATE TABLE unrelated (a)")
        other.execute("BEGIN")
        other.execute("SELECT * FROM unrelated").fetchall()
        # SQLite does not wait where two change the journal mode at once, because each would wait for the other.
        connect = sqlite3.connect
        monkeypatch.setattr(sqlite3, "connect", lambda path, **options: connect(path, **{**options, "timeout": 0}))
        monkeypatch.setattr(time, "sleep", lambda _: other.rollback())
        assert spend(file, 1) == 1
        other.close()

    def test_full_disk_is_an_error_until_there_is_room(self, file):
        spend(file, 1)
        file._database.execute("PRAGMA max_page_count = 1")
        unlimited = attrs.evolve(WINDOWS_ONLY, minute_count=0, hour_count=0)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            spend(file, 5000, unlimited)
        assert spend(file, 1, unlimited) == 1

    def test_error_rolls_everything_back(self, file):
        spend(file, 10)
        broken = ReserveRequest(member="a", limit=WINDOWS_ONLY, unrecorded=((0.0, 5),), pause="soon")
        with pytest.raises(TypeError):
            file.reserve(broken)
        assert spend(file, 80) == 50

    @pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
    @pytest.mark.parametrize("kind", ["file", "folder"])
    def test_file_open_to_others_is_refused(self, file, tmp_path, kind):
        spend(file, 1)
        file.close()
        path = tmp_path / "cache" / ("quota.sqlite3" if kind == "file" else "")
        path.chmod(0o777)
        with pytest.raises(ConfigurationError, match="can be written by others"):
            spend(file, 1)

    def test_link_in_place_of_the_file_is_refused(self, file, tmp_path):
        (tmp_path / "cache").mkdir(mode=0o700)
        (tmp_path / "cache" / "quota.sqlite3").symlink_to(tmp_path / "target")
        with pytest.raises(ConfigurationError, match="is a symbolic link"):
            spend(file, 1)
        assert not (tmp_path / "target").exists()

    def test_file_in_place_of_the_folder_is_an_error(self, tmp_path):
        (tmp_path / "cache").write_text("a file")
        with pytest.raises(ConfigurationError, match="is not a directory"):
            QuotaFile(tmp_path / "cache" / "quota.sqlite3").reserve(ReserveRequest(member="a", limit=SHARED_LIMIT))


class TestHostCoordinator:
    def test_event_loop_continues_while_the_file_is_busy(self, tmp_path):
        async def main() -> Reservation:
            coordinator = HostCoordinator("pk_live_0123456789", directory=tmp_path)
            await coordinator.reserve(ReserveRequest(member="a", limit=SHARED_LIMIT, wanted=1))
            (file,) = tmp_path.glob("*.sqlite3")
            assert "0123456789" not in file.name
            busy = sqlite3.connect(file, isolation_level=None)
            busy.execute("BEGIN IMMEDIATE")
            waiting = asyncio.create_task(coordinator.reserve(ReserveRequest(member="a", limit=SHARED_LIMIT, wanted=1)))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not waiting.done()
            busy.rollback()
            busy.close()
            claim = await waiting
            coordinator.close()
            return claim

        assert asyncio.run(main()).delays

    def test_user_without_a_home_gets_a_hint(self, monkeypatch):
        def unknown(_: type[Path]) -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(Path, "home", classmethod(unknown))
        with pytest.raises(ConfigurationError, match=r"no home directory\. Hint: Set XDG_CACHE_HOME"):
            RateLimiter.for_host(LIMIT, key="a")

    @pytest.mark.parametrize("key", [None, "", b"pk_live_a"])
    def test_missing_key_is_refused(self, key):
        with pytest.raises(ConfigurationError, match=r"key must be an API key, not (NoneType|empty|bytes)"):
            RateLimiter.for_host(LIMIT, key=key)

    def test_empty_directory_is_refused(self):
        with pytest.raises(ConfigurationError, match="directory must not be empty"):
            HostCoordinator("a", directory="")

    def test_directory_does_not_depend_on_the_working_directory(self, tmp_path, monkeypatch):
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path)
        coordinator = HostCoordinator("a", directory="quota")
        monkeypatch.chdir(tmp_path / "elsewhere")
        asyncio.run(coordinator.reserve(ReserveRequest(member="a", limit=SHARED_LIMIT)))
        coordinator.close()
        assert len(list((tmp_path / "quota").glob("quota-*.sqlite3"))) == 1

    def test_relative_cache_directory_counts_as_none(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", "cache")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.chdir(tmp_path)
        limiter = RateLimiter.for_host(LIMIT, key="a")
        asyncio.run(limiter.acquire())
        limiter.close()
        assert (tmp_path / ".cache" / "panelica_async").is_dir()

    def test_directory_that_cannot_be_created_hints_at_xdg(self, tmp_path):
        (tmp_path / "cache").write_text("no directory")
        file = QuotaFile(tmp_path / "cache" / "deep" / "panelica_async" / "quota.sqlite3")
        with pytest.raises(ConfigurationError, match=r"Not a directory\. Hint: Set XDG_CACHE_HOME"):
            file.reserve(ReserveRequest(member="a", limit=SHARED_LIMIT))

    def test_file_is_in_the_cache_directory_of_the_user(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setattr(sys, "platform", "linux")

        async def main() -> None:
            await RateLimiter.for_host(LIMIT, key="a").acquire()

        asyncio.run(main())
        assert len(list((tmp_path / "panelica_async").glob("quota-v3-*.sqlite3"))) == 1

    def test_thread_and_file_go_with_the_coordinator(self, tmp_path):
        # Threads of earlier tests may end in the meantime.
        before = set(threading.enumerate())

        async def main() -> None:
            coordinator = HostCoordinator("a", directory=tmp_path)
            await coordinator.reserve(ReserveRequest(member="a", limit=SHARED_LIMIT))
            assert len(set(threading.enumerate()) - before) == 1

        asyncio.run(main())
        patience = time.monotonic() + 30
        while set(threading.enumerate()) - before:
            assert time.monotonic() < patience
            time.sleep(0.01)


MEMBER = """
import asyncio, sys, time
from panelica_async.ratelimit import RateLimit, RateLimiter
from panelica_async.ratelimit.sqlite import HostCoordinator

async def main(directory, seconds):
    coordinator = HostCoordinator("key", directory=directory)
    limiter = RateLimiter(RateLimit(per_minute=3000, burst=20), coordinator=coordinator)
    end = time.monotonic() + seconds
    async def caller():
        while time.monotonic() < end:
            await limiter.acquire()
            print(time.monotonic(), flush=True)
    await asyncio.gather(*(caller() for _ in range(3)))
    coordinator.close()

asyncio.run(main(sys.argv[1], float(sys.argv[2])))
"""


def test_killed_process_leaves_the_quota_to_others(tmp_path):
    """50 a second and 20 at once, for three processes together."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MEMBER, str(tmp_path), "3"], stdout=subprocess.PIPE, text=True, env={**os.environ}
        )
        for _ in range(3)
    ]
    assert processes[0].stdout is not None
    for _ in range(5):
        processes[0].stdout.readline()
    processes[0].kill()
    went = [sorted(map(float, process.communicate()[0].split())) for process in processes]
    assert [process.returncode for process in processes[1:]] == [0, 0]
    together = went[1] + went[2]
    assert min(map(len, went[1:])) >= 10
    # On a busy machine, a permit may be used up to LATENESS after its instant.
    assert len(together) <= 20 + 50 * (max(together) - min(together) + LATENESS)


def test_synchronous_is_a_level_that_sqlite_knows(file, monkeypatch):
    # SQLite takes a word that it does not know for a level, without an error.
    statements = []

    def connect(*args, **options):
        database = sqlite3.Connection(*args, **options)
        database.set_trace_callback(statements.append)
        return database

    monkeypatch.setattr("panelica_async.ratelimit.sqlite.sqlite3.connect", connect)
    spend(file, 1)
    assert "PRAGMA synchronous = NORMAL" in statements
