"""What a client does, for those who watch it: one stream of events, and figures that sum it up.

A call sends `Queued`, then for each attempt `Sent`, where it was refused `Throttled`, where it is tried again
`Retried`, and in the end `Done` (`events`). Whoever subscribes gets them: a log (`logs`), OpenTelemetry (`otel`), or
your own:

```python
from panelica_async.telemetry import Done

panel.subscribe(lambda event: print(event.operation, event.duration) if isinstance(event, Done) else None)
```
"""

from panelica_async.ratelimit.limit import QuotaLeft
from panelica_async.ratelimit.state import LimiterState
from panelica_async.telemetry.events import CallEvent, Done, Event, Listener, Outcome, Queued, Retried, Sent, Throttled
from panelica_async.telemetry.logs import CallLog
from panelica_async.telemetry.statistics import Percentiles, Statistics

__all__ = [
    "CallEvent",
    "CallLog",
    "Done",
    "Event",
    "LimiterState",
    "Listener",
    "Outcome",
    "Percentiles",
    "Queued",
    "QuotaLeft",
    "Retried",
    "Sent",
    "Statistics",
    "Throttled",
]
