"""A real Redis server, which tests start, kill and start again."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
import redis as blocking_redis

PATIENCE = 30.0
"""Seconds within which a server starts, even on a slow machine."""
needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")


class RedisServer:
    """A server on a free port of this machine, without persistence."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self.directory],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE
        with blocking_redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except blocking_redis.ConnectionError:
                    assert self.process.poll() is None, "redis-server has ended"
                    assert time.monotonic() < deadline, "redis-server does not answer"
                    time.sleep(0.01)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
