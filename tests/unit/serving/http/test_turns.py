"""Turns of what is explained: they are bounded, and what nobody waits for any more ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from headrace.models.stopping import refuse_stopped
from headrace.serving.http.problem import Problem
from headrace.serving.http.turns import Turns


class Client:
    """A client that stays until it is told to leave."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}


def endless(began: threading.Event) -> None:
    """Work that only a stop ends."""
    while True:
        refuse_stopped()
        began.set()


async def begun(turns: Turns, client: Client) -> asyncio.Task[None]:
    event = threading.Event()
    task = asyncio.create_task(turns.run(client.receive, endless, event))
    assert await asyncio.to_thread(event.wait, 20)
    return task


async def problem_of(task: asyncio.Task[Any]) -> Problem:
    with pytest.raises(Problem) as refusal:
        await asyncio.wait_for(task, 20)
    return refusal.value


async def left() -> Problem:
    turns, client = Turns(seconds=60), Client()
    task = await begun(turns, client)
    client.left.set()
    return await problem_of(task)


async def closed() -> Problem:
    turns = Turns(seconds=60)
    task = await begun(turns, Client())
    turns.close()
    return await problem_of(task)


async def late() -> Problem:
    return await problem_of(await begun(Turns(seconds=0.2), Client()))


async def waited_for_long() -> Problem:
    turns = Turns(at_once=1, seconds=60)
    first = await begun(turns, Client())
    turns.seconds = 0.1
    problem = await problem_of(asyncio.create_task(turns.run(Client().receive, lambda: None)))
    turns.close()
    await problem_of(first)
    return problem


async def full() -> Problem:
    turns = Turns(at_once=1, waiting=1, seconds=60)
    first = await begun(turns, Client())
    second = asyncio.create_task(turns.run(Client().receive, lambda: None))
    await asyncio.sleep(0)
    problem = await problem_of(asyncio.create_task(turns.run(Client().receive, lambda: None)))
    turns.close()
    await problem_of(first)
    await problem_of(second)
    return problem


@pytest.mark.parametrize(
    ("scene", "status", "detail"),
    [
        (left, 400, "the client went away"),
        (closed, 503, "the server ends"),
        (late, 503, "longer than 0.2 s"),
        (waited_for_long, 503, "its turn did not come"),
        (full, 503, "wait to be explained"),
    ],
)
def test_what_nobody_waits_for_ends(scene: Callable[[], Any], status: int, detail: str) -> None:
    problem = asyncio.run(scene())
    assert (problem.status, detail in problem.detail) == (status, True), problem.detail
    assert (status == 503) == any(name == b"retry-after" for name, _ in problem.headers)


def test_a_turn_gives_back_what_was_computed_and_is_free_again() -> None:
    async def scene() -> list[int]:
        turns = Turns(at_once=1)
        return [await turns.run(Client().receive, lambda: 7) for _ in range(3)]

    assert asyncio.run(scene()) == [7, 7, 7]
