"""Watch what a client does: a stream of events, and statistics that sum them up.

Each call sends `Queued`; each of its attempts `Sent`, then `Throttled` when the panel answers 429, and `Retried` when
it is repeated; `Mismatched` when optional fields of the reply do not fit; and finally the call sends `Done` (`events`).
Subscribe a log (`logs`), OpenTelemetry (`otel`), or a function of your own:

```python
from panelica_async.telemetry import Done

panel.subscribe(lambda event: print(event.operation, event.duration) if isinstance(event, Done) else None)
```
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from panelica_async.ratelimit.limit import LimiterState, QuotaLeft
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
    from panelica_async.telemetry.logs import CallLog
    from panelica_async.telemetry.statistics import Percentiles, Statistics
    from panelica_async.telemetry.tally import Outcome

__all__ = [
    "CallEvent",
    "CallLog",
    "Done",
    "Event",
    "LimiterState",
    "Listener",
    "Mismatched",
    "Outcome",
    "Percentiles",
    "Queued",
    "QuotaLeft",
    "Retried",
    "Sent",
    "Statistics",
    "Throttled",
]

# Imported on first use: a client without listeners needs only `tally`.
_HOMES = {
    **dict.fromkeys(
        ("CallEvent", "Done", "Event", "Listener", "Mismatched", "Queued", "Retried", "Sent", "Throttled"),
        "panelica_async.telemetry.events",
    ),
    "CallLog": "panelica_async.telemetry.logs",
    "LimiterState": "panelica_async.ratelimit.limit",
    "Outcome": "panelica_async.telemetry.tally",
    "Percentiles": "panelica_async.telemetry.statistics",
    "QuotaLeft": "panelica_async.ratelimit.limit",
    "Statistics": "panelica_async.telemetry.statistics",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
