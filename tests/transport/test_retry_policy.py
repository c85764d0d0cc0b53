"""The decision to retry: each row of the table in the docstring of `RetryPolicy` is decided, and the pages have it."""

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path

import aiohttp
import attrs
import pytest

from panelica_async.core import error_replies
from panelica_async.core.operation import Repeat
from panelica_async.errors import ConnectError, TransportError
from panelica_async.ratelimit import RateLimit, RateLimiter
from panelica_async.ratelimit.limit import UNNAMED_WAIT
from panelica_async.transport.call import Call, Reply
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.exchange import GATEWAY_ERRORS
from panelica_async.transport.keys import KeyHolder
from panelica_async.transport.retry import LONGEST_WAIT, RetryPolicy, Waits
from tests.support.virtual_time import run
from tests.transport.stubs import Network, make_call, make_keys, make_response, make_transport, send

Failure = Reply | TransportError

DOCSTRING = inspect.cleandoc(RetryPolicy.__doc__ or "")
TABLE = [line for line in DOCSTRING.splitlines() if line.startswith("|")]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE[2:]]
WAITS = Waits()
ASKED = 7.0


def reply(status: int, *, body: bytes = b"{}", **headers: str) -> Reply:
    made = make_response(status, body, {name.replace("_", "-"): value for name, value in headers.items()})
    return Reply(status, made.headers, body, made)


def refused_certificate() -> ConnectError:
    error = ConnectError("no connection")
    error.__cause__ = aiohttp.ServerFingerprintMismatch(b"expected", b"got", "panel.example.com", 8443)
    return error


def signed_with_another_key(holder: KeyHolder, call: Call) -> None:
    call.key = attrs.evolve(holder.current)


SITUATIONS: dict[str, list[Failure]] = {
    "no connection": [ConnectError("refused")],
    "no connection: certificate not accepted, or proxy refused": [refused_certificate()],
    "sent, no complete reply": [TransportError("reset")],
    "401, and the next signature differs in key or time": [reply(401)],
    "401, any other": [reply(401)],
    "429": [reply(429, Retry_After=f"{ASKED:g}"), reply(429)],
    "503 that names a wait": [reply(503, Retry_After=f"{ASKED:g}")],
    "503 that names none": [reply(503)],
    "502, 504, 520, 522, 524": [reply(status) for status in GATEWAY_ERRORS],
    "408, 425, 521, 523, 525, 530": [reply(status) for status in (408, 425, 521, 523, 525, 530)],
    "any other reply": [reply(status) for status in (302, 400, 403, 404, 409, 422, 500, 501, 526)],
}
PREPARE: dict[str, Callable[[KeyHolder, Call], None]] = {
    "401, and the next signature differs in key or time": signed_with_another_key
}


def decide(call: Call, failure: Failure, holder: KeyHolder | None = None) -> float | None:
    """Return the decision after the first attempt."""
    holder = holder or make_keys(RateLimiter(RateLimit.unlimited()))
    call.attempts = 1
    if call.key is None:
        call.key = holder.current
    clock = PanelClock()
    call.clock_lead = clock.lead
    return RetryPolicy(holder, clock, WAITS).decide(call, failure)


def is_wait(wait: float | None, promised: str) -> bool:
    match promised:
        case "":
            return wait is None
        case "none" | "pause of the limiter":
            return wait == 0
        case "as asked":
            return wait == ASKED
        case "backoff":
            return wait is not None and 0.5 <= wait <= 0.75
    raise AssertionError(promised)


def test_every_row_of_the_policy_has_a_situation() -> None:
    assert [row[0] for row in ROWS] == list(SITUATIONS)


@pytest.mark.parametrize(
    ("name", "promise", "wait", "repeat", "failure"),
    [
        pytest.param(name, promise, wait, repeat, failure, id=f"{name}-{repeat.value}-{number}")
        for name, safe, other, wait in ROWS
        for repeat in Repeat
        for promise in [safe if repeat.is_safe else other]
        for number, failure in enumerate(SITUATIONS[name])
    ],
)
def test_decision_is_what_the_table_says(name: str, promise: str, wait: str, repeat: Repeat, failure: Failure) -> None:
    async def main() -> None:
        call, holder = make_call(repeat), make_keys()
        PREPARE.get(name, lambda *_: None)(holder, call)
        assert is_wait(decide(call, failure, holder), "" if promise == "final" else wait)
        if promise == "again, once":
            call.was_re_signed = True
            assert decide(call, failure, holder) is None

    run(main())


def test_page_has_the_table_of_the_policy() -> None:
    page = (Path(__file__).parents[2] / "docs" / "timeouts.md").read_text("utf-8")
    shown = page.partition("<!-- retries -->")[2].partition("<!-- /retries -->")[0]
    assert shown.strip().splitlines() == TABLE


@pytest.mark.parametrize("asked", [0.0, 0.1])
def test_429_with_a_short_wait_waits_by_itself(asked: float) -> None:
    wait = decide(make_call(), reply(429, Retry_After=str(asked)))
    assert is_wait(wait, "backoff")


def test_429_of_an_uncounted_call_waits_by_itself() -> None:
    assert is_wait(decide(make_call(signed=False), reply(429, Retry_After=f"{ASKED:g}")), "as asked")


def test_decision_has_no_effect() -> None:
    policy, call, failure = RetryPolicy(make_keys(), PanelClock(), WAITS), make_call(), reply(401)
    before = dict(vars(call))
    assert policy.decide(call, failure) == policy.decide(call, failure) == 0
    assert vars(call) == before


def test_backoff_doubles_up_to_its_longest() -> None:
    policy, call = RetryPolicy(make_keys(), PanelClock(), WAITS), make_call(max_retries=20)
    for attempts in range(1, 20):
        call.attempts = attempts
        wait = policy.decide(call, TransportError("reset"))
        least = min(WAITS.longest_retry, WAITS.first_retry * 2 ** (attempts - 1))
        assert wait is not None
        assert least <= wait <= least * 1.5


def test_wait_beyond_a_limit_is_final() -> None:
    assert decide(make_call(), reply(503, Retry_After=f"{LONGEST_WAIT:g}")) == LONGEST_WAIT
    assert decide(make_call(), reply(503, Retry_After=f"{LONGEST_WAIT + 1:g}")) is None
    assert decide(make_call(max_wait=6), reply(503, Retry_After=f"{ASKED:g}")) is None
    assert decide(make_call(max_wait=UNNAMED_WAIT - 1), reply(429)) is None
    assert decide(make_call(max_retries=0), reply(503)) is None


def test_refusal_is_parsed_once_and_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limiter, the watchers, the decision and the error share one reading of the body."""
    parsed: list[bytes] = []

    def reading(status: int, headers: object, body: bytes, *arguments: object, **options: object) -> object:
        parsed.append(body)
        return read_report(status, headers, body, *arguments, **options)  # type: ignore[arg-type]

    read_report = error_replies.read_report
    monkeypatch.setattr(error_replies, "read_report", reading)
    refusal = b'{"error": {"retry_after": 40, "limit": 60, "window": "minute"}}'

    async def main() -> None:
        network = Network(make_response(429, refusal), make_response())
        assert await send(make_call(Repeat.UNSAFE), network) == 200
        [wait] = network.waits
        assert 40 <= wait <= 41
        assert parsed == [refusal]

    run(main())


def test_call_that_was_refused_keeps_its_turn() -> None:
    """It waits in the queue of the limiter, where later calls come after it."""

    async def main() -> None:
        network = Network(make_response(429, headers={"Retry-After": "40"}), make_response())
        through, order = make_transport(network), list[str]()

        async def sent(name: str) -> None:
            await through.send(make_call())
            order.append(name)

        first = asyncio.create_task(sent("refused"))
        await asyncio.sleep(1)
        later = [asyncio.create_task(sent(f"later {number}")) for number in range(3)]
        await asyncio.gather(first, *later)
        assert order[0] == "refused"

    run(main())
