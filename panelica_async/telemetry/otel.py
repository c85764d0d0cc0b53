"""Reports calls to OpenTelemetry as spans and metrics.

Needs the extra `otel`, and an SDK with an exporter of your choice.

Each call is a span of kind INTERNAL, named like its operation, with a child span of kind CLIENT for each attempt.
Service maps and error rates count CLIENT spans; the attempts are the HTTP requests, and the gaps between them are the
waits. When the reply to a create is lost, the span of that attempt lasts until the lookup of the created object has
ended. All spans belong to the context in which the call was awaited, such as a web request. Their attributes are the
stable HTTP attributes and these:

| attribute | |
|---|---|
| `panelica.operation` | such as `domains.create`; `request` for a raw request |
| `panelica.lane` | `interactive` or `bulk` |
| `panelica.outcome` | `succeeded`, `failed`, `unknown` or `cancelled` |
| `panelica.waited` | seconds spent waiting for quota |
| `panelica.request_id` | id to quote to the panel's support |

Spans never contain a query, a header or a body.

| metric | unit | |
|---|---|---|
| `panelica.client.call.duration` | s | histogram, waits included |
| `panelica.client.quota.wait` | s | histogram |
| `panelica.client.attempts`, `.retries`, `.throttled` | | counters: requests sent, repeated, refused with 429 |
| `panelica.client.mismatches` | | counter: optional fields of replies that did not fit their types |

Their attributes are `panelica.operation`, `panelica.lane`, `panelica.outcome` and `server.address`; with a reply also
`panelica.status_class`, such as `2xx`; after a failure also `error.type`.

| gauge | unit | |
|---|---|---|
| `panelica.client.quota.limit`, `.left` | | requests, by `panelica.window`: `minute` or `hour` |
| `panelica.client.queue.waiting` | | waiting calls, by `panelica.lane` |
| `panelica.client.queue.oldest` | s | how long the oldest of them has waited, by `panelica.lane` |
| `panelica.client.coordinator.away` | | 1 while the store of a shared quota is unreachable, else 0; none without one |
| `panelica.client.retry_budget.left` | | retries that the budget still pays for |

With a coordinator, `left` counts the requests of all members. Gauges have `server.address` too.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import attrs

from panelica_async._version import __version__
from panelica_async.core.address import DEFAULT_PORT
from panelica_async.core.redaction import redact_text
from panelica_async.errors import ConfigurationError
from panelica_async.ratelimit.lanes import Lane
from panelica_async.telemetry import Outcome
from panelica_async.telemetry.events import (
    CallEvent,
    Done,
    Event,
    Listener,
    Mismatched,
    Queued,
    Retried,
    Sent,
    Throttled,
)
from panelica_async.telemetry.statistics import Statistics

try:
    from opentelemetry import metrics, trace
except ImportError as _missing:
    raise ConfigurationError(
        "spans and metrics need the package opentelemetry-api", hint="Run pip install 'panelica_async[otel]'."
    ) from _missing

__all__ = ["instrument"]

# Seconds: the buckets of the HTTP conventions, and longer ones, because calls wait for windows of a minute or an hour.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 120, 300, 900, 3600)
_ERROR_OUTCOMES = {Outcome.FAILED, Outcome.UNKNOWN}
_ERROR_STATUS = trace.Status(trace.StatusCode.ERROR)


class Watchable(Protocol):
    """The part of a client that instrumentation needs."""

    @property
    def base_url(self) -> str:
        """Address of the panel."""
        ...

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Send events to a listener."""
        ...

    def stats(self) -> Statistics:
        """Return the statistics; raise `RuntimeError` before the first call."""
        ...


def instrument(
    panel: Watchable,
    *,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
) -> Callable[[], None]:
    """Report the calls of a client and its variants as spans and metrics.

    Args:
        panel: The client, a `PanelicaClient`.
        tracer_provider: Where spans go; the global provider by default.
        meter_provider: Where metrics go; the global provider by default.

    Returns:
        A function that stops the reporting and ends the spans of calls in flight.
    """
    server = urlsplit(panel.base_url)
    gauges = _Gauges.for_provider(meter_provider or metrics.get_meter_provider())
    instrumentation = _Instrumentation(
        trace.get_tracer("panelica_async", __version__, tracer_provider),
        _Instruments(metrics.get_meter("panelica_async", __version__, meter_provider)),
        panel.base_url,
        {"server.address": server.hostname or "", "server.port": server.port or DEFAULT_PORT},
    )
    unsubscribe = panel.subscribe(instrumentation)
    subscription = object()
    gauges.panels[subscription] = panel, server.hostname or ""

    def stop() -> None:
        unsubscribe()
        gauges.panels.pop(subscription, None)
        instrumentation.close()

    return stop


class _Instruments:
    def __init__(self, meter: metrics.Meter) -> None:
        self.duration = meter.create_histogram(
            "panelica.client.call.duration",
            "s",
            "How long calls took, waits included.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self.wait = meter.create_histogram(
            "panelica.client.quota.wait",
            "s",
            "How long calls waited for quota.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self.attempts = meter.create_counter("panelica.client.attempts", "{attempt}", "Requests that were sent.")
        self.retries = meter.create_counter("panelica.client.retries", "{retry}", "Attempts that were repeated.")
        self.throttled = meter.create_counter(
            "panelica.client.throttled", "{attempt}", "Attempts that the panel refused with 429."
        )
        self.mismatches = meter.create_counter(
            "panelica.client.mismatches", "{field}", "Optional fields of replies that did not fit their types."
        )


_Readings = Iterable[tuple[float | None, dict[str, str]]]
"""Values of a gauge, each with its attributes."""
_ReadGauge = Callable[[Statistics], _Readings]


class _Gauges:
    """Gauges that read the state of all instrumented clients whenever metrics are collected, in any thread."""

    def __init__(self, meter: metrics.Meter) -> None:
        # A provider ignores a second gauge of the same name, so all its clients share one.
        self.panels: dict[object, tuple[Watchable, str]] = {}
        for name, unit, description, read in _GAUGES:
            callback = partial(self._observe, read)
            meter.create_observable_gauge(f"panelica.client.{name}", [callback], unit, description)

    @classmethod
    def for_provider(cls, provider: metrics.MeterProvider) -> "_Gauges":
        """Return the gauges of a provider; make them on first use."""
        # The key of the global provider must not change if the program sets the provider after instrumenting a client.
        key = metrics.get_meter_provider if provider is metrics.get_meter_provider() else provider
        if key not in _gauges_by_provider:
            _gauges_by_provider[key] = cls(provider.get_meter("panelica_async", __version__))
        return _gauges_by_provider[key]

    def _observe(self, read: _ReadGauge, _: metrics.CallbackOptions) -> Iterator[metrics.Observation]:
        for panel, address in list(self.panels.values()):
            try:
                readings = list(read(panel.stats()))
            except RuntimeError:
                continue  # it has made no call yet
            for value, attributes in readings:
                if value is not None:
                    yield metrics.Observation(value, {"server.address": address, **attributes})


_gauges_by_provider: WeakKeyDictionary[object, _Gauges] = WeakKeyDictionary()


def _read_limit(stats: Statistics) -> _Readings:
    return _by_window(stats.limiter.limit.per_minute, stats.limiter.limit.per_hour)


def _read_left(stats: Statistics) -> _Readings:
    return _by_window(stats.quota.minute, stats.quota.hour)


def _by_window(minute: float | None, hour: float | None) -> _Readings:
    return [(minute, {"panelica.window": "minute"}), (hour, {"panelica.window": "hour"})]


def _by_lane(values: Mapping[Lane, float]) -> _Readings:
    return [(value, {"panelica.lane": lane}) for lane, value in values.items()]


def _read_away(stats: Statistics) -> _Readings:
    coordination = stats.limiter.coordination
    return [] if coordination == "none" else [(int(coordination == "away"), {})]


_GAUGES: tuple[tuple[str, str, str, _ReadGauge], ...] = (
    ("quota.limit", "{request}", "The limit in force.", _read_limit),
    ("quota.left", "{request}", "Requests that may still be sent.", _read_left),
    ("queue.waiting", "{call}", "Calls that wait for quota.", lambda stats: _by_lane(stats.limiter.waiting)),
    ("queue.oldest", "s", "How long the oldest waiting call has waited.", lambda stats: _by_lane(stats.limiter.oldest)),
    ("coordinator.away", "1", "Whether the store of a shared quota is unreachable.", _read_away),
    (
        "retry_budget.left",
        "{retry}",
        "Retries that the budget still pays for.",
        lambda stats: [(stats.retries_left, {})],
    ),
)


@attrs.define
class _OpenCall:
    span: trace.Span
    attempt: trace.Span | None = None
    retries: int = 0
    throttled: int = 0
    mismatches: int = 0


class _Instrumentation:
    """The listener of one client."""

    def __init__(
        self, tracer: trace.Tracer, instruments: _Instruments, base_url: str, server: dict[str, str | int]
    ) -> None:
        self._tracer = tracer
        self._instruments = instruments
        self._base_url = base_url
        self._server = server
        self._calls: dict[int, _OpenCall] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, Queued):
            self._begin_call(event)
            return
        call = self._calls.get(event.call)
        if call is None:
            return  # the call began before the subscription
        match event:
            case Sent():
                self._begin_attempt(call, event)
            case Throttled():
                call.throttled += 1
                _end_attempt(call, 429, None)
                facts = {"retry_after": event.retry_after, "limit": event.limit, "window": event.window}
                call.span.add_event(
                    "throttled", {f"panelica.{name}": value for name, value in facts.items() if value is not None}
                )
            case Retried():
                call.retries += 1
                _end_attempt(call, event.status, event.error)
                call.span.add_event(
                    "retried", {"panelica.wait": event.wait, "panelica.reason": redact_text(event.reason)}
                )
            case Mismatched():
                call.mismatches += event.count
                call.span.add_event("mismatched", {"panelica.fields": [*map(redact_text, event.fields)]})
            case Done():
                del self._calls[event.call]
                _end_attempt(call, event.status, event.error)
                _end_call(call, event)
                self._record_metrics(call, event)

    def close(self) -> None:
        """End all open spans."""
        while self._calls:
            _, call = self._calls.popitem()
            if call.attempt is not None:
                call.attempt.end()
            call.span.end()

    def _begin_call(self, event: Queued) -> None:
        span = self._tracer.start_span(
            event.method if _is_raw(event) else event.operation,
            attributes={
                **self._server,
                "http.request.method": event.method,
                "url.path": event.path,
                "panelica.operation": _operation_name(event),
                "panelica.lane": event.lane,
            },
        )
        self._calls[event.call] = _OpenCall(span)

    def _begin_attempt(self, call: _OpenCall, event: Sent) -> None:
        call.attempt = self._tracer.start_span(
            event.method,
            trace.set_span_in_context(call.span),
            trace.SpanKind.CLIENT,
            {
                **self._server,
                "http.request.method": event.method,
                # The conventions ask for the full URL, but the query may hold secrets.
                "url.full": f"{self._base_url}{event.path}",
                "panelica.operation": _operation_name(event),
                "panelica.waited": event.waited,
                **({"http.request.resend_count": event.attempt - 1} if event.attempt > 1 else {}),
            },
        )

    def _record_metrics(self, call: _OpenCall, event: Done) -> None:
        attributes = {
            "panelica.operation": _operation_name(event),
            "panelica.lane": event.lane,
            "panelica.outcome": event.outcome.value,
            "server.address": self._server["server.address"],
        }
        if event.status is not None:
            attributes["panelica.status_class"] = f"{event.status // 100}xx"
        if event.outcome in _ERROR_OUTCOMES:
            attributes["error.type"] = type(event.error).__qualname__
        instruments = self._instruments
        instruments.duration.record(event.duration, attributes)
        instruments.wait.record(event.waited, attributes)
        instruments.attempts.add(event.attempts, attributes)
        instruments.retries.add(call.retries, attributes)
        instruments.throttled.add(call.throttled, attributes)
        instruments.mismatches.add(call.mismatches, attributes)


def _end_attempt(call: _OpenCall, status: int | None, error: BaseException | None) -> None:
    span, call.attempt = call.attempt, None
    if span is None:
        return
    if status is not None:
        span.set_attribute("http.response.status_code", status)
        if status >= 400:
            _mark_failed(span, str(status))
    elif error is None:
        # The reply was lost, and a lookup found the created object.
        _mark_failed(span, "_OTHER")
    elif isinstance(error, Exception):
        _mark_failed(span, type(error).__qualname__)
    span.end()


def _end_call(call: _OpenCall, event: Done) -> None:
    span = call.span
    span.set_attributes({"panelica.outcome": event.outcome.value, "panelica.waited": event.waited})
    if event.request_id is not None:
        span.set_attribute("panelica.request_id", event.request_id)
    if event.status is not None:
        span.set_attribute("http.response.status_code", event.status)
    if event.outcome in _ERROR_OUTCOMES:
        _mark_failed(span, type(event.error).__qualname__)
    span.end()


def _mark_failed(span: trace.Span, error_type: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(_ERROR_STATUS)


def _operation_name(event: CallEvent) -> str:
    # The path of a raw request contains ids, each of which would create a time series of its own.
    return "request" if _is_raw(event) else event.operation


def _is_raw(event: CallEvent) -> bool:
    return event.operation.startswith(event.method)
