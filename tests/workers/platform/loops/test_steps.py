"""Work in steps: others have the event loop in between."""

from __future__ import annotations

import asyncio
import time

from workers.platform.loops.steps import in_steps


def _work_for(seconds: float) -> None:
    """Keep the processor."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        pass


async def _turns_of_others(items: int, seconds: float) -> int:
    """Return how often other work has the event loop while each item takes so long."""
    turns, done = 0, False

    async def others() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    found = []
    async for each in in_steps(range(items)):
        _work_for(seconds)
        found.append(each)
    done = True
    await beside
    assert found == list(range(items))
    return turns


def test_others_have_the_event_loop_while_much_is_done() -> None:
    assert asyncio.run(_turns_of_others(20, 0.002)) >= 20


def test_an_item_that_is_short_of_a_step_gives_no_turn() -> None:
    # One turn at the end; an interruption of this process may add some, but hardly one for each item.
    assert asyncio.run(_turns_of_others(1_000, 0.0)) < 500
