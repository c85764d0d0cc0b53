"""Whether this machine and the panel agree on the time, which every signature holds."""

from panelica_async.doctor.findings import Finding, failure, ok, warning
from panelica_async.transport.clock import GREATEST_SKEW, NOTABLE_SKEW, PanelClock

_NAME = "clock"
_SET_IT = "Set the clock of this machine by NTP, and check that of the panel."


def check_clock(clock: PanelClock, *, accepted: bool | None) -> Finding:
    """Say how far the clocks are apart.

    Args:
        clock: What the replies told about the panel's time.
        accepted: Whether the panel accepted a timestamp; None when it did not say.
    """
    skew = clock.skew
    if skew is None:
        if accepted is False:
            return failure(
                _NAME, "the panel refuses the time of this machine, and its replies do not tell its own", _SET_IT
            )
        return ok(_NAME, "the replies of the panel do not tell its time")
    facts = {"skew_seconds": round(skew, 1)}
    apart = (
        f"the clock of the panel is {_duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'} that of this machine"
    )
    if accepted is False:
        why = "; more than a day is not believed" if abs(skew) > GREATEST_SKEW else ""
        return failure(_NAME, f"the panel refuses the timestamp, and by its replies {apart}{why}", _SET_IT, **facts)
    if abs(skew) < NOTABLE_SKEW:
        # A `Date` header is rounded to a second.
        return ok(_NAME, "the clocks agree" if abs(skew) < 1 else apart, **facts)
    if abs(skew) <= GREATEST_SKEW:
        hint = f"{_SET_IT} Until then the client signs with the panel's time once a timestamp is refused."
        return warning(_NAME, apart, hint, **facts)
    if accepted:
        hint = "Look for a proxy with a wrong clock before the panel; calls work all the same."
        return warning(_NAME, f"{apart} by its replies, but it accepts the time of this machine", hint, **facts)
    return failure(_NAME, f"{apart}, too much to be believed", _SET_IT, **facts)


def _duration(seconds: float) -> str:
    """Write a duration in the largest unit that fits, such as `20.0 min`."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
