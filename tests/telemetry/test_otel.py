"""Calls as spans and metrics, through the SDK of OpenTelemetry."""

import asyncio
import importlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind, StatusCode

from panelica_async import (
    ConfigurationError,
    ConflictError,
    DecodeError,
    OutcomeUnknownError,
    PanelicaClient,
    PanelicaError,
    TransportError,
)
from panelica_async._version import __version__
from panelica_async.ratelimit import RateLimit, RateLimiter, Reservation, ReserveRequest
from panelica_async.telemetry import otel
from tests.conftest import API_KEY, API_SECRET, Advance, Connect, until
from tests.support.raw_server import CLOSE, HANG, RawServer, reply
from tests.telemetry.watching import without_pauses

DOMAIN = {"id": "d1", "domain": "example.com", "user_id": "u1"}
HUSH = "hunter2-x9y8z7"


class Keep(SpanProcessor):
    """Keeps spans in the order in which they started."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def on_start(self, span: Span, parent_context: object = None) -> None:
        self.spans.append(span)


class Telemetry:
    """An SDK that keeps all spans and metrics."""

    def __init__(self) -> None:
        self._kept = Keep()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(self._kept)
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader])

    def instrument(self, panel: PanelicaClient) -> Any:
        return otel.instrument(panel, tracer_provider=self.tracers, meter_provider=self.meters)

    @property
    def spans(self) -> list[Span]:
        """Ended spans, in the order in which they started."""
        return [span for span in self._kept.spans if span.end_time is not None]

    def metrics(self) -> dict[str, list[Any]]:
        """Return the points of each metric."""
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def shutdown(self) -> None:
        self.tracers.shutdown()
        self.meters.shutdown()


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    yield telemetry
    telemetry.shutdown()


async def record(panel: PanelicaClient) -> None:
    await panel.dns.records.create("z1", name="www", type="A", content="192.0.2.1")


def address(server: RawServer) -> dict[str, Any]:
    host, port = server.origin.removeprefix("http://").split(":")
    return {"server.address": host, "server.port": int(port)}


def is_child(child: Span, parent: Span) -> bool:
    return child.parent is not None and child.parent.span_id == parent.context.span_id


async def test_fields_that_do_not_fit_are_an_event_without_secrets(
    server: RawServer, connect: Connect, telemetry: Telemetry
) -> None:
    server.script(reply(json={**DOMAIN, "created_at": f"token={HUSH}", "disk_usage_mb": []}))
    panel = connect()
    telemetry.instrument(panel)
    await panel.domains.get("d1")
    [event] = telemetry.spans[0].events
    assert event.name == "mismatched"
    assert sorted(event.attributes["panelica.fields"]) == [
        "Domain.created_at: expected date-time, got 'token=[redacted]'",
        "Domain.disk_usage_mb: expected int, got list",
    ]
    [point] = telemetry.metrics()["panelica.client.mismatches"]
    assert point.value == 2


async def test_call_is_a_span_in_the_context_of_the_caller(
    server: RawServer, connect: Connect, telemetry: Telemetry
) -> None:
    server.script(reply(json=DOMAIN, headers={"X-Request-Id": "r-1"}))
    panel = connect()
    telemetry.instrument(panel)
    with telemetry.tracers.get_tracer("web").start_as_current_span("GET /sites"):
        await panel.domains.get("d1")
    request, call, attempt = telemetry.spans
    assert is_child(call, request)
    assert is_child(attempt, call)
    assert (call.name, call.kind, call.status.status_code) == ("domains.get", SpanKind.INTERNAL, StatusCode.UNSET)
    waited = call.attributes["panelica.waited"]
    assert dict(call.attributes) == {
        **address(server),
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "url.path": "/v1/domains/d1",
        "panelica.operation": "domains.get",
        "panelica.lane": "interactive",
        "panelica.outcome": "succeeded",
        "panelica.waited": waited,
        "panelica.request_id": "r-1",
    }
    assert (attempt.name, attempt.kind, attempt.status.status_code) == ("GET", SpanKind.CLIENT, StatusCode.UNSET)
    assert dict(attempt.attributes) == {
        **address(server),
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "url.full": f"{server.origin}/api/external/v1/domains/d1",
        "panelica.operation": "domains.get",
        "panelica.waited": waited,
    }
    assert (call.instrumentation_scope.name, call.instrumentation_scope.version) == ("panelica_async", __version__)


@pytest.mark.usefixtures("no_backoff")
async def test_every_attempt_is_visible(
    server: RawServer, connect: Connect, telemetry: Telemetry, advance: Advance
) -> None:
    refusal = {"error": {"code": "RATE_LIMIT_EXCEEDED", "limit": 60, "retry_after": 0, "window": "minute"}}
    server.script(reply(429, json=refusal), reply(503), CLOSE, reply(json=DOMAIN))
    limiter = RateLimiter(RateLimit.for_tier("enterprise"))
    panel = connect(limiter=limiter)
    telemetry.instrument(panel)
    await without_pauses(panel.domains.get("d1"), limiter, advance)
    call, *attempts = telemetry.spans
    assert all(is_child(attempt, call) for attempt in attempts)
    assert call.status.status_code is StatusCode.UNSET
    shown = [
        (
            attempt.attributes.get("http.request.resend_count"),
            attempt.attributes.get("http.response.status_code"),
            attempt.attributes.get("error.type"),
            attempt.status.status_code,
        )
        for attempt in attempts
    ]
    assert shown == [
        (None, 429, "429", StatusCode.ERROR),
        (1, 503, "503", StatusCode.ERROR),
        (2, None, "TransportError", StatusCode.ERROR),
        (3, 200, None, StatusCode.UNSET),
    ]
    for earlier, later in pairwise(attempts):
        assert earlier.end_time <= later.start_time
    assert [event.name for event in call.events] == ["throttled", "retried", "retried", "retried"]
    assert dict(call.events[0].attributes) == {
        "panelica.retry_after": 0.0,
        "panelica.limit": 60,
        "panelica.window": "minute",
    }
    assert dict(call.events[2].attributes) == {"panelica.wait": 0.0, "panelica.reason": "the panel answered 503"}


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize(
    ("step", "error", "outcome", "call_error", "attempt_error"),
    [
        (reply(409, json={"error": "exists"}), ConflictError, "failed", "ConflictError", "409"),
        (reply(200, body="{"), DecodeError, "unknown", "DecodeError", None),
        (CLOSE, OutcomeUnknownError, "unknown", "OutcomeUnknownError", "OutcomeUnknownError"),
        (reply(502), OutcomeUnknownError, "unknown", "OutcomeUnknownError", "502"),
    ],
)
async def test_call_that_fails_has_an_error_status(
    server: RawServer,
    connect: Connect,
    telemetry: Telemetry,
    step: Any,
    error: type[Exception],
    outcome: str,
    call_error: str,
    attempt_error: str | None,
) -> None:
    server.script(step)
    panel = connect()
    telemetry.instrument(panel)
    with pytest.raises(error):
        await record(panel.with_options(look_up_lost=False))
    call, attempt = telemetry.spans
    assert call.status.status_code is StatusCode.ERROR
    assert call.attributes["panelica.outcome"] == outcome
    assert call.attributes["error.type"] == call_error
    assert attempt.attributes.get("error.type") == attempt_error
    assert (attempt.status.status_code is StatusCode.ERROR) == (attempt_error is not None)


@pytest.mark.usefixtures("no_backoff")
async def test_lost_create_that_is_found_has_its_look_up_below(
    server: RawServer, connect: Connect, telemetry: Telemetry
) -> None:
    found = {"id": "r1", "name": "www", "type": "A", "content": "192.0.2.1"}
    server.script(CLOSE, reply(json={"data": [found], "total": 1}))
    panel = connect()
    telemetry.instrument(panel)
    await record(panel)
    create, lost, look, _ = telemetry.spans
    assert (create.name, look.name) == ("dns.records.create", "dns.records.list")
    assert create.status.status_code is StatusCode.UNSET
    assert create.attributes["panelica.outcome"] == "succeeded"
    assert "http.response.status_code" not in create.attributes
    assert (lost.status.status_code, lost.attributes["error.type"]) == (StatusCode.ERROR, "_OTHER")


@pytest.mark.parametrize(
    ("write", "outcome", "status"), [(False, "cancelled", StatusCode.UNSET), (True, "unknown", StatusCode.ERROR)]
)
async def test_spans_of_a_cancelled_call_end(
    server: RawServer, connect: Connect, telemetry: Telemetry, write: bool, outcome: str, status: StatusCode
) -> None:
    server.script(HANG)
    panel = connect()
    telemetry.instrument(panel)
    task = asyncio.create_task(record(panel) if write else panel.domains.get("d1"))
    await server.received(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    call, attempt = telemetry.spans
    assert (call.attributes["panelica.outcome"], call.status.status_code) == (outcome, status)
    assert attempt.status.status_code is StatusCode.UNSET


async def test_span_of_a_call_cancelled_in_the_queue_ends(
    server: RawServer, connect: Connect, telemetry: Telemetry
) -> None:
    limiter = RateLimiter(RateLimit.for_tier("enterprise"))
    limiter.observe(429, {}, retry_after=60)
    panel = connect(limiter=limiter)
    telemetry.instrument(panel)
    task = asyncio.create_task(panel.domains.get("d1"))
    await until(lambda: limiter.waiting == 1)
    task.cancel()
    await asyncio.wait([task])
    [call] = telemetry.spans
    assert call.attributes["panelica.outcome"] == "cancelled"


async def test_concurrent_calls_stay_apart(server: RawServer, connect: Connect, telemetry: Telemetry) -> None:
    server.script(*[reply(json=DOMAIN)] * 20)
    panel = connect()
    telemetry.instrument(panel)
    tracer = telemetry.tracers.get_tracer("web")

    async def serve(number: int) -> None:
        with tracer.start_as_current_span(f"request {number}"):
            await panel.domains.get(f"d{number}")

    await asyncio.gather(*map(serve, range(20)))
    by_id = {span.context.span_id: span for span in telemetry.spans}
    attempts = [span for span in telemetry.spans if span.kind is SpanKind.CLIENT]
    assert len(attempts) == 20
    for attempt in attempts:
        call = by_id[attempt.parent.span_id]
        request = by_id[call.parent.span_id]
        number = call.attributes["url.path"].removeprefix("/v1/domains/d")
        assert attempt.attributes["url.full"].endswith(f"/d{number}")
        assert request.name == f"request {number}"


async def test_name_of_a_raw_request_has_no_ids(server: RawServer, connect: Connect, telemetry: Telemetry) -> None:
    panel = connect()
    telemetry.instrument(panel)
    await panel.request("GET", "/v1/things/4711")
    call, attempt = telemetry.spans
    assert (call.name, attempt.name) == ("GET", "GET")
    assert call.attributes["panelica.operation"] == "request"
    [point] = telemetry.metrics()["panelica.client.attempts"]
    assert point.attributes["panelica.operation"] == "request"


@pytest.mark.usefixtures("no_backoff")
async def test_spans_and_metrics_have_no_query_header_or_body(
    server: RawServer, connect: Connect, telemetry: Telemetry
) -> None:
    panel = connect()
    telemetry.instrument(panel)
    server.script(reply(json={"note": HUSH}), reply(400, json={"error": HUSH}), reply(200, body=f'{{"x": "{HUSH}'))
    for _ in range(3):
        with suppress(PanelicaError):
            await panel.request("PUT", "/v1/things", query={"note": HUSH}, json={"note": HUSH})
    exported = "".join(span.to_json() for span in telemetry.spans) + str(telemetry.metrics())
    assert len(telemetry.spans) == 6
    for secret in (HUSH, API_KEY, API_SECRET, *(request.signature for request in server.requests)):
        assert secret not in exported


@pytest.mark.usefixtures("no_backoff")
async def test_calls_attempts_and_waits_are_measured(
    server: RawServer, connect: Connect, telemetry: Telemetry, advance: Advance
) -> None:
    limiter = RateLimiter(RateLimit.for_tier("enterprise"))
    panel = connect(limiter=limiter)
    telemetry.instrument(panel)
    refused = reply(429, headers={"Retry-After": "0"})
    server.script(reply(json=DOMAIN), refused, reply(json=DOMAIN), reply(409, json={"error": "exists"}))

    async def work() -> None:
        await panel.domains.get("d1")
        await panel.with_options(lane="bulk").domains.get("d1")
        with pytest.raises(ConflictError):
            await record(panel)

    await without_pauses(work(), limiter, advance)
    metrics = telemetry.metrics()
    read = {
        "panelica.operation": "domains.get",
        "panelica.lane": "interactive",
        "panelica.outcome": "succeeded",
        "panelica.status_class": "2xx",
        "server.address": "127.0.0.1",
    }
    bulk = {**read, "panelica.lane": "bulk"}
    failed = {"panelica.outcome": "failed", "panelica.status_class": "4xx", "error.type": "ConflictError"}
    create = {**read, "panelica.operation": "dns.records.create", **failed}
    counts = {
        name.removeprefix("panelica.client."): [(dict(point.attributes), point.value) for point in points]
        for name, points in metrics.items()
        if name.endswith(("attempts", "retries", "throttled"))
    }
    assert counts == {
        "attempts": [(read, 1), (bulk, 2), (create, 1)],
        "retries": [(read, 0), (bulk, 1), (create, 0)],
        "throttled": [(read, 0), (bulk, 1), (create, 0)],
    }
    stats = panel.stats()
    duration, wait = metrics["panelica.client.call.duration"], metrics["panelica.client.quota.wait"]
    for points in (duration, wait):
        assert [(dict(point.attributes), point.count) for point in points] == [(read, 1), (bulk, 1), (create, 1)]
        assert points[0].explicit_bounds[0] == 0.005
        assert points[0].explicit_bounds[-1] == 3600
    assert sum(point.sum for point in wait) == pytest.approx(stats.waited)


async def test_ending_the_instrumentation_ends_open_spans(
    server: RawServer, connect: Connect, telemetry: Telemetry
) -> None:
    server.script(HANG)
    panel = connect()
    end = telemetry.instrument(panel)
    task = asyncio.create_task(panel.domains.get("d1"))
    await server.received(1)
    end()
    call, attempt = telemetry.spans
    assert "panelica.outcome" not in call.attributes
    assert is_child(attempt, call)
    end()
    task.cancel()
    await asyncio.wait([task])
    await panel.request("GET", "/v1/me")
    assert len(telemetry.spans) == 2


async def test_calls_that_began_before_are_left_out(server: RawServer, connect: Connect, telemetry: Telemetry) -> None:
    server.script(HANG)
    panel = connect()
    task = asyncio.create_task(panel.domains.get("d1"))
    await server.received(1)
    telemetry.instrument(panel)
    task.cancel()
    await asyncio.wait([task])
    await panel.request("GET", "/v1/me")
    assert [span.attributes["url.path"] for span in telemetry.spans if span.parent is None] == ["/v1/me"]


async def test_instrument_without_an_sdk_does_nothing(server: RawServer, connect: Connect) -> None:
    server.script(CLOSE, reply(429), reply(json=DOMAIN))
    panel = connect(max_retries=0)
    end = otel.instrument(panel)
    with pytest.raises(TransportError):
        await panel.domains.get("d1")
    end()


def test_import_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "panelica_async.telemetry.otel")
    with pytest.raises(ConfigurationError) as caught:
        importlib.import_module("panelica_async.telemetry.otel")
    assert caught.value.hint == "Run pip install 'panelica_async[otel]'."


def gauges(telemetry: Telemetry) -> dict[str, dict[str, float]]:
    """Return what the gauges show, by lane or window."""
    return {
        name.removeprefix("panelica.client."): {
            str(point.attributes.get("panelica.lane") or point.attributes.get("panelica.window") or ""): point.value
            for point in points
        }
        for name, points in telemetry.metrics().items()
        if name.endswith((".limit", ".left", ".waiting", ".oldest", ".away"))
    }


async def test_gauges_show_the_limiter_from_any_thread(connect: Connect, telemetry: Telemetry) -> None:
    panel = connect(limiter=RateLimit(per_minute=300, per_hour=10_000))
    end = telemetry.instrument(panel)
    assert await asyncio.to_thread(gauges, telemetry) == {}
    await panel.request("GET", "/v1/me")
    assert await asyncio.to_thread(gauges, telemetry) == {
        "quota.limit": {"minute": 300, "hour": 10_000},
        "quota.left": {"minute": 299, "hour": 9_999},
        "queue.waiting": {"interactive": 0, "bulk": 0},
        "queue.oldest": {"interactive": 0, "bulk": 0},
        "retry_budget.left": {"": 100},
    }
    end()
    assert gauges(telemetry) == {}


async def test_gauges_show_each_client_of_a_provider(connect: Connect, telemetry: Telemetry) -> None:
    names = {"127.0.0.1": 60, "localhost": 300}
    origin = connect().base_url.removesuffix("/api/external")
    for name, per_minute in names.items():
        panel = connect(base_url=origin.replace("127.0.0.1", name), limiter=RateLimit(per_minute=per_minute))
        telemetry.instrument(panel)
        assert panel._transport.keys.current.quota.limiter
    points = telemetry.metrics()["panelica.client.quota.limit"]
    assert {point.attributes["server.address"]: point.value for point in points} == names


_PROVIDER_SET_BETWEEN = """
import asyncio
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from panelica_async import PanelicaClient, RateLimit
from panelica_async.telemetry.otel import instrument

async def main():
    limit = RateLimit(per_minute=60)
    early, late = (
        PanelicaClient(f"{name}.example.com", api_key="pk_live_a", api_secret="sk_live_a", limiter=limit)
        for name in ("early", "late")
    )
    instrument(early)
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    instrument(late)
    gauges = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    limit = next(gauge for gauge in gauges if gauge.name == "panelica.client.quota.limit")
    print(sorted(point.attributes["server.address"] for point in limit.data.data_points))

asyncio.run(main())
"""


def test_gauges_survive_a_provider_set_later() -> None:
    done = subprocess.run([sys.executable, "-c", _PROVIDER_SET_BETWEEN], capture_output=True, text=True, check=True)
    assert done.stdout == "['early.example.com', 'late.example.com']\n"


async def test_gauge_of_the_coordinator_is_1_while_it_is_away(connect: Connect, telemetry: Telemetry) -> None:
    class Away:
        async def reserve(self, request: ReserveRequest) -> Reservation:
            raise OSError("no route to host")

    panel = connect(limiter=RateLimiter(RateLimit(per_minute=300), coordinator=Away()))
    telemetry.instrument(panel)
    await panel.request("GET", "/v1/me")
    assert gauges(telemetry)["coordinator.away"] == {"": 1}
