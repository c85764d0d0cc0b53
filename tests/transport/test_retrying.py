"""Which failures are tried again and after how long, in virtual time."""

import asyncio

import pytest

from panelica_async.core.operation import Repeat
from panelica_async.errors import (
    ConfigurationError,
    ConnectError,
    OutcomeUnknownError,
    RequestTimeoutError,
    TransportError,
)
from panelica_async.transport.retry import LONGEST_WAIT
from tests.support.virtual_time import now, run
from tests.transport.stubs import Network, make_call, make_response, send

SAFE = [Repeat.READ, Repeat.IDEMPOTENT]
CREATES = [Repeat.NATURAL_KEY, Repeat.UNSAFE]
REFUSED = make_response(429, headers={"Retry-After": "7"})
DONE = make_response(200)

# Sleeping as long as was asked never ends early; the loop's clock moves a little by itself.
SLACK = 0.01
# After a refusal the limiter lets processes that share a key go at different times.
STAGGER = 1.0


@pytest.mark.parametrize("repeat", SAFE)
@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_safe_calls_are_repeated_on_passing_errors(repeat: Repeat, status: int) -> None:
    async def main() -> None:
        call, network = make_call(repeat), Network(make_response(status), make_response(status), DONE)
        assert await send(call, network) == 200
        assert call.attempts == len(network.times) == 3

    run(main())


@pytest.mark.parametrize("repeat", SAFE)
@pytest.mark.parametrize("kind", [TransportError, ConnectError, RequestTimeoutError])
def test_safe_calls_are_repeated_without_a_reply(repeat: Repeat, kind: type[TransportError]) -> None:
    async def main() -> None:
        call, network = make_call(repeat), Network(kind("lost"), DONE)
        assert await send(call, network) == 200
        assert call.attempts == 2

    run(main())


@pytest.mark.parametrize("repeat", CREATES)
@pytest.mark.parametrize(
    "failure",
    [ConnectError("refused"), REFUSED, make_response(429), make_response(503, headers={"Retry-After": "1"})],
    ids=["no connection", "429", "429 without a wait", "503 with a wait"],
)
def test_creates_that_cannot_have_run_are_repeated(repeat: Repeat, failure) -> None:
    async def main() -> None:
        call, network = make_call(repeat), Network(failure, DONE)
        assert await send(call, network) == 200
        assert call.attempts == 2

    run(main())


@pytest.mark.parametrize("repeat", CREATES)
@pytest.mark.parametrize("failure", [TransportError("reset"), RequestTimeoutError("late")])
def test_creates_are_not_repeated_after_a_lost_reply(repeat: Repeat, failure: TransportError) -> None:
    async def main() -> None:
        network = Network(failure, DONE)
        with pytest.raises(OutcomeUnknownError) as caught:
            await send(make_call(repeat), network)
        assert type(caught.value.__cause__) is type(failure)
        assert len(network.times) == 1

    run(main())


@pytest.mark.parametrize("repeat", CREATES)
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_creates_are_not_repeated_when_they_may_have_run(repeat: Repeat, status: int) -> None:
    async def main() -> None:
        network = Network(make_response(status), DONE)
        assert await send(make_call(repeat), network) == status
        assert len(network.times) == 1

    run(main())


@pytest.mark.parametrize("repeat", Repeat)
@pytest.mark.parametrize("status", [200, 201, 204, 302, 400, 401, 403, 404, 409, 422, 500, 501])
def test_reply_that_is_no_passing_error_is_final(repeat: Repeat, status: int) -> None:
    async def main() -> None:
        network = Network(make_response(status), DONE)
        assert await send(make_call(repeat), network) == status
        assert len(network.times) == 1

    run(main())


def test_error_other_than_a_lost_reply_is_final() -> None:
    async def main() -> None:
        network = Network(ConfigurationError("closed"), DONE)
        with pytest.raises(ConfigurationError):
            await send(make_call(), network)
        assert len(network.times) == 1

    run(main())


@pytest.mark.parametrize("most", [0, 1, 5])
def test_failure_after_the_last_retry_stands(most: int) -> None:
    async def main() -> None:
        call, network = make_call(max_retries=most), Network(make_response(503))
        assert await send(call, network) == 503
        assert call.attempts == len(network.times) == most + 1

        call, network = make_call(max_retries=most), Network(ConnectError("refused"))
        with pytest.raises(ConnectError) as caught:
            await send(call, network)
        assert caught.value.attempts == call.attempts == most + 1

    run(main())


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Retry-After": "42"}, b""),
        ({}, b'{"status": "error", "error": {"code": "RATE_LIMIT_EXCEEDED", "retry_after": 42, "window": "minute"}}'),
        ({}, b'{"error": "slow down", "retry_after": 42}'),
        # What the body says is more precise than the header.
        ({"Retry-After": "60"}, b'{"retry_after": 42}'),
    ],
    ids=["header", "nested body", "flat body", "both"],
)
def test_wait_named_by_the_panel_is_kept(status: int, headers: dict[str, str], body: bytes) -> None:
    async def main() -> None:
        network = Network(make_response(status, body, headers), DONE)
        assert await send(make_call(Repeat.UNSAFE), network) == 200
        [wait] = network.waits
        assert 42 <= wait <= 42 + (STAGGER if status == 429 else SLACK)

    run(main())


def test_every_wait_is_the_last_one_named() -> None:
    async def main() -> None:
        asked = [5.0, 1.0, 30.0]
        replies = [make_response(429, headers={"Retry-After": f"{seconds:g}"}) for seconds in asked]
        network = Network(*replies, DONE)
        assert await send(make_call(), network) == 200
        for wait, seconds in zip(network.waits, asked, strict=True):
            assert seconds <= wait <= seconds + STAGGER

    run(main())


def test_backoff_doubles_and_spreads_upwards() -> None:
    async def main() -> None:
        first: list[float] = []
        for _ in range(30):
            network = Network(TransportError("lost"))
            with pytest.raises(TransportError):
                await send(make_call(max_retries=8), network)
            for wait, least in zip(network.waits, [0.5, 1, 2, 4, 8, 16, 30, 30], strict=True):
                assert least <= wait <= least * 1.5 + SLACK
            first.append(network.waits[0])
        assert len(set(first)) == 30

    run(main())


def test_wait_at_the_cap_is_slept_and_one_above_is_final() -> None:
    async def main() -> None:
        network = Network(make_response(429, headers={"Retry-After": f"{LONGEST_WAIT:g}"}), DONE)
        assert await send(make_call(), network) == 200

        started = now()
        network = Network(make_response(429, headers={"Retry-After": f"{LONGEST_WAIT + 1:g}"}), DONE)
        assert await send(make_call(), network) == 429
        assert now() - started < SLACK

    run(main())


def test_wait_past_the_deadline_is_final() -> None:
    async def main() -> None:
        started = now()
        network = Network(REFUSED, DONE)
        assert await send(make_call(deadline=6), network) == 429
        network = Network(TransportError("lost"))
        with pytest.raises(TransportError):
            await send(make_call(deadline=0.4), network)
        assert now() - started < SLACK

        network = Network(REFUSED, DONE)
        assert await send(make_call(deadline=8), network) == 200

    run(main())


def test_deadline_of_lost_write_says_where_it_ended_the_call() -> None:
    async def main() -> None:
        with pytest.raises(OutcomeUnknownError, match="the deadline of 5 s has passed") as caught:
            await send(make_call(Repeat.UNSAFE, deadline=5), Network(60.0))
        chain, error = list[type[BaseException]](), caught.value.__cause__
        while error is not None:
            chain.append(type(error))
            error = error.__cause__
        assert chain == [RequestTimeoutError, TimeoutError, asyncio.CancelledError]

    run(main())


@pytest.mark.parametrize("earlier", [1.0, 0.0])
def test_write_cancelled_as_deadline_passes_stays_cancelled(earlier: float) -> None:
    async def main() -> None:
        call = make_call(Repeat.UNSAFE, deadline=5)
        writing = asyncio.ensure_future(send(call, Network(60.0)))
        await asyncio.sleep(0)
        assert call.deadline_at is not None
        asyncio.get_running_loop().call_at(call.deadline_at - earlier, writing.cancel)
        with pytest.raises(asyncio.CancelledError) as caught:
            await writing
        assert isinstance(caught.value.__cause__, OutcomeUnknownError)

    run(main())


def test_calls_do_not_share_their_waits() -> None:
    async def main() -> None:
        for _ in range(3):
            network = Network(TransportError("lost"), DONE)
            await send(make_call(), network)
            assert network.waits[0] <= 0.75 + SLACK

    run(main())


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize("asked", ["0", "-5", "1e-9", "Sat, 01 Jan 2000 00:00:00 GMT", "0.0"])
def test_retry_after_of_zero_leaves_our_own_backoff(status: int, asked: str) -> None:
    async def main() -> None:
        refused = make_response(status, headers={"Retry-After": asked})
        network = Network(refused, refused, refused, DONE)
        assert await send(make_call(), network) == 200
        for wait, least in zip(network.waits, (0.5, 1.0, 2.0), strict=True):
            assert least <= wait <= least * 1.5 + (STAGGER if status == 429 else SLACK)

    run(main())


def test_wait_beyond_the_longest_is_final_whatever_max_wait() -> None:
    async def main() -> None:
        network = Network(make_response(429, headers={"Retry-After": f"{LONGEST_WAIT + 1:g}"}), DONE)
        assert await send(make_call(max_wait=600), network) == 429
        assert len(network.times) == 1

    run(main())
