"""One key in several event loops of a process, at the same time or one after another: one quota."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from panelica_async import PanelicaClient, RateLimit, RateLimitWaitError
from tests.conftest import API_KEY, API_SECRET

# An hour, so that no permit comes back while a slow machine runs the test.
SIXTY = RateLimit(per_hour=60)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b'{"success":true,"data":{}}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def origin() -> Iterator[str]:
    """A panel in another thread, which answers everything and names no limit."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def job(origin: str, calls: int) -> int:
    """Return how many calls pass that may not wait for the next hour."""

    async def call() -> bool:
        try:
            await impatient.request("GET", "/v1/x")
        except RateLimitWaitError:
            return False
        return True

    async with PanelicaClient(origin, api_key=API_KEY, api_secret=API_SECRET, limiter=SIXTY) as panel:
        impatient = panel.with_options(max_wait=60)
        return sum(await asyncio.gather(*(call() for _ in range(calls))))


def test_successive_loops_share_the_quota(origin: str) -> None:
    assert sum(asyncio.run(job(origin, 8)) for _ in range(15)) == 60


def test_threads_with_loops_share_the_quota(origin: str) -> None:
    passed: list[int] = []
    threads = [threading.Thread(target=lambda: passed.append(asyncio.run(job(origin, 40)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 4
    assert sum(passed) == 60
