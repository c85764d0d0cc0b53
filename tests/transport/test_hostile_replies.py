"""Replies made to keep a client busy: none blocks the event loop for long or takes unbounded memory.

What is measured is the processor time of the loop's thread between two of its passes, so that a busy machine changes
nothing; the bound is several times what any of these takes, and a tenth of what each took without limits.
"""

import asyncio
import contextlib
import gzip
import json
import tracemalloc

import pytest

from panelica_async import PanelicaError
from tests.conftest import Connect
from tests.support.loop_watch import longest_step
from tests.support.raw_server import RawServer, Step, reply

MIB = 1024 * 1024
LONGEST_STEP = 0.4
"""Seconds of processor time that one pass of the loop may take."""


def of_json(status: int, data: object, **headers: str) -> Step:
    return reply(status, json=data, headers=headers)


def packed(status: int, text: str) -> Step:
    return reply(status, body=gzip.compress(text.encode(), 1), headers={"Content-Encoding": "gzip"})


WORDS = {
    "words": "ab ",
    "addresses": "a://b ",
    "assignments": "a=b ",
    "names of secrets": "password-token-",
    "quotes": "password='\\",
    "user info": "postgres://a:",
    "keys": "-----BEGIN PRIVATE KEY-----",
    "credentials": "sk_live_a ",
    "bearers": "bearer aaaaaaaa ",
    "validation": "Field validation for 'a' failed on the 'b' tag ",
    "translation keys": "errors.a.",
    "bidi": "\u202e\u200b",
}
HOSTILE = {
    **{f"error of {name}": of_json(400, {"error": text * (4 * MIB // len(text))}) for name, text in WORDS.items()},
    **{f"page of {name}": reply(500, body="<" + text * (MIB // len(text))) for name, text in WORDS.items()},
    "details": of_json(400, {"error": "no", "details": ["a=b c"] * 200_000}),
    "details that just fit": of_json(400, {"error": "no", "details": ["a=b c"] * 6_000}),
    "six sentences that just fit": of_json(
        400, {key: f"{key} " + "a=b " * 3_000 for key in ("error", "message", "details")}
    ),
    "keys of details": of_json(422, {"details": {f"password{n}" * 4: n for n in range(1_000)}}),
    "429": of_json(429, {"error": "ab " * MIB, "retry_after": 900}),
    "401 of a timestamp": of_json(401, {"error": "timestamp " * MIB}),
    "scopes": of_json(403, {"error": "no", "required_scope": "a " * 30_000, "available_scopes": ["b=c"] * 10_000}),
    "code": of_json(400, {"error": "no", "code": "a=b " * 15_000, "request_id": "x" * 60_000}),
    "digits": of_json(429, {"error": "no", "retry_after": "9" * 60_000, "limit": "9" * 60_000}),
    "packed error": packed(400, json.dumps({"error": "ab " * 10 * MIB})),
    "packed lists": packed(200, '{"message":[' + "[]," * 10 * MIB + "[]]}"),
    "packed objects": packed(200, "[" + "{}," * 10 * MIB + "{}]"),
    "packed spaces": packed(200, " " * 64 * MIB),
    "objects": reply(200, body="[" + "{}," * 2 * MIB + "{}]"),
    "nesting": reply(200, body="[" * 8 * MIB),
    "a text of 64 MiB": reply(200, body="x" * 64 * MIB),
    "headers": of_json(
        429, {"error": "no"}, **{f"X-{n}": "a" * 4000 for n in range(100)}, **{"Retry-After": "1" * 7000}
    ),
    "location": reply(302, headers={"Location": "/?token=" + "a=b&" * 1_900}),
    "request id": of_json(400, {"error": "no"}, **{"X-Request-Id": "password-token-" * 500}),
}


@pytest.mark.parametrize("step", HOSTILE.values(), ids=HOSTILE)
async def test_hostile_reply_does_not_block_the_loop(server: RawServer, connect: Connect, step: Step) -> None:
    server.script(step)
    panel = connect(max_retries=0, timeout=60)
    over = asyncio.Event()
    watch = asyncio.ensure_future(longest_step(over))
    await asyncio.sleep(0)
    with pytest.raises(PanelicaError) as caught:
        await panel.domains.get("d1")
    text = str(caught.value)
    over.set()
    assert await watch < LONGEST_STEP
    assert len(text) < 4_000
    assert len(json.dumps(vars(caught.value), default=str)) < 20_000


@pytest.mark.parametrize("name", ["packed lists", "packed objects", "packed spaces", "objects"])
async def test_memory_for_any_reply_is_bounded(server: RawServer, connect: Connect, name: str) -> None:
    server.script(HOSTILE[name])
    panel = connect(max_retries=0, timeout=60)
    tracemalloc.start()
    try:
        with contextlib.suppress(PanelicaError):
            await panel.domains.get("d1")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 96 * MIB
