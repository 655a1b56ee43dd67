"""Loads take turns: a few at once, and a long one lets others begin."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.waiting import until
from workers.hosts.worker_side import load_turns
from workers.hosts.worker_side.load_turns import LoadTurns


class Loads:
    """Loads that go on until they are told to end."""

    def __init__(self, turns: LoadTurns, count: int) -> None:
        self.running: list[int] = []
        self.may_end = [asyncio.Event() for _ in range(count)]
        self.tasks = [asyncio.create_task(self._load(turns, number)) for number in range(count)]

    async def _load(self, turns: LoadTurns, number: int) -> None:
        async with turns.turn():
            self.running.append(number)
            await self.may_end[number].wait()
        self.running.remove(number)


def test_no_more_load_at_once_than_there_are_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_turns, "_LONGEST_TURN_S", 60.0)

    async def load() -> None:
        loads = Loads(LoadTurns(2), 4)
        await until(lambda: loads.running == [0, 1])
        loads.tasks[2].cancel()  # its slot is stopped
        loads.may_end[1].set()
        await until(lambda: loads.running == [0, 3])
        for each in loads.may_end:
            each.set()
        await asyncio.wait(loads.tasks)
        again = Loads(LoadTurns(2), 2)
        await until(lambda: again.running == [0, 1])

    asyncio.run(load())


def test_a_long_load_lets_the_next_begin_and_its_end_frees_no_second_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_turns, "_LONGEST_TURN_S", 0.01)

    async def load() -> None:
        turns = LoadTurns(1)
        loads = Loads(turns, 2)
        await until(lambda: loads.running == [0, 1])
        for each in loads.may_end:
            each.set()
        await asyncio.wait(loads.tasks)
        monkeypatch.setattr(load_turns, "_LONGEST_TURN_S", 60.0)
        later = Loads(turns, 3)
        await until(lambda: later.running == [0])
        later.may_end[0].set()
        await until(lambda: later.running == [1])

    asyncio.run(load())
