"""Answers that calls keep for each other."""

import asyncio

from panelica_async.api.known import SharedReads
from tests.support.virtual_time import run


def test_answer_is_kept_for_a_minute() -> None:
    async def main() -> list[str | None]:
        reads = SharedReads()
        reads.keep(("owner", "d1"), "u1")
        answers = [reads.kept(("owner", "d1")), reads.kept(("owner", "d2"))]
        await asyncio.sleep(59)
        answers.append(reads.kept(("owner", "d1")))
        await asyncio.sleep(2)
        return [*answers, reads.kept(("owner", "d1"))]

    assert run(main()) == ["u1", None, "u1", None]


async def test_oldest_answers_go_when_there_are_many() -> None:
    reads = SharedReads()
    for number in range(1500):
        reads.keep(number, "u1")
    assert [number for number in range(1500) if reads.kept(number)] == list(range(500, 1500))
