"""The order of jobs: by priority and age, with one in ten for each lower priority."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.waiting import eventually
from tests.workers.conftest import WithRedis, submit
from tests.workers.stand_ins import queued_job
from workers import keys
from workers.engine.batching.priority_queue import PriorityQueue
from workers.engine.intake.leases import Leases
from workers.queues.naming import LISTS, queue_name
from workers.queues.priorities import ROUND, Priority

QUEUE = queue_name("adding")
#: Steps in order: jobs of a priority are queued, or some are taken (and some more if any of them are high).
PUT = st.tuples(st.sampled_from(Priority), st.integers(1, 30))
TAKE = st.tuples(st.none(), st.integers(0, 12), st.integers(0, 12))
EVENTS = st.lists(PUT | TAKE, max_size=25)
#: Something is asked for where nothing is left, between two low ones that come before what is more urgent.
EMPTIED_BETWEEN = [
    (Priority.NORMAL, 1),
    (Priority.LOW, 1),
    (None, 3, 0),
    (Priority.NORMAL, 20),
    (Priority.LOW, 1),
    (None, 12, 0),
]
#: Takes that many, and that many more while high ones wait; returns their names.
Take = Callable[[int, int], Sequence[str]]


class Watch:
    """Checks the order of jobs as they come and go."""

    def __init__(self) -> None:
        self.waiting: dict[Priority, list[str]] = {priority: [] for priority in Priority}
        self.taken: list[str] = []
        #: How many others were taken since the first job of each priority became the first.
        self._others: Counter[Priority] = Counter()
        self._out_of_turn: list[tuple[int, Priority]] = []

    def put(self, priority: Priority, count: int) -> list[str]:
        names = [f"{priority}-{len(self.taken)}-{len(self.waiting[priority])}-{number}" for number in range(count)]
        if not self.waiting[priority]:
            self._others[priority] = 0
        self.waiting[priority] += names
        return names

    def took(self, name: str) -> None:
        priority = Priority(name.partition("-")[0])
        assert self.waiting[priority].pop(0) == name, "jobs of a priority come in their order"
        self.taken.append(name)
        most_urgent = next(each for each in Priority if each is priority or self.waiting[each])
        for each in Priority:
            self._others[each] = 0 if each is priority else self._others[each] + 1
            assert not self.waiting[each] or self._others[each] < ROUND, f"{each} has waited for too many others"
        if priority is not most_urgent:
            before = [at for at, which in self._out_of_turn if which is priority]
            assert not before or len(self.taken) - before[-1] >= ROUND, f"{priority} takes more than its share"
            self._out_of_turn.append((len(self.taken), priority))


def play(events: Sequence[Any], put: Callable[[Priority, list[str]], None], take: Take) -> None:
    """Let everything happen, then take what is left; nothing is lost, and nothing comes twice."""
    watch = Watch()
    for what, *counts in [*events, (None, 1_000, 0)]:
        if what is not None:
            put(what, watch.put(what, *counts))
            continue
        count, more = counts
        high = len(watch.waiting[Priority.HIGH])
        taken = take(count, more)
        for name in taken:
            watch.took(name)
        assert len(taken) >= min(count, len(taken) + sum(map(len, watch.waiting.values())))
        assert len(taken) <= count + (more if high else 0)
        assert len(taken) == count + more or not watch.waiting[Priority.HIGH], "no high one is left while there is room"
    assert not any(watch.waiting.values())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(events=EVENTS, turn=st.integers(0, 400))
@example(events=EMPTIED_BETWEEN, turn=9)
def test_a_fetch_takes_the_most_urgent_and_lets_nobody_starve(
    store: redis.Redis, with_redis: WithRedis, events: Sequence[Any], turn: int
) -> None:
    store.flushdb()
    store.hset(keys.TURNS, QUEUE, turn)

    def put(priority: Priority, names: list[str]) -> None:
        store.lpush(queue_name("adding", priority), *(f'{{"delivery_tag": "{name}"}}' for name in names))

    def take(count: int, more: int) -> list[str]:
        leased = with_redis(lambda client: Leases(client, 20).fetch({"adding": count}, {"adding": more}))
        return [each.tag for each in leased]

    play(events, put, take)


@given(events=EVENTS)
def test_a_worker_takes_from_what_it_holds_by_the_same_rule(events: Sequence[Any]) -> None:
    queue = PriorityQueue()

    def put(priority: Priority, names: list[str]) -> None:
        for name in names:
            queue.append(queued_job(name, priority=priority))

    def take(count: int, more: int) -> list[str]:
        taken: list[str] = []
        while queue and (len(taken) < count or (len(taken) < count + more and queue.first.priority is Priority.HIGH)):
            first = queue.first
            assert queue.popleft() is first
            taken.append(first.job_id)
        return taken

    # How many more are taken is the intake's business.
    play([(None, event[1], 0) if event[0] is None else event for event in events], put, take)
    assert (len(queue), list(queue)) == (0, [])


def test_no_list_of_a_level_starves_beside_another(store: redis.Redis, with_redis: WithRedis) -> None:
    for suffix in LISTS[Priority.LOW]:
        store.lpush(QUEUE + suffix, f"only one in {suffix}")
    store.lpush(QUEUE, *(f"normal {number}" for number in range(500)))
    store.lpush(queue_name("adding", Priority.LOW), *(f"low {number}" for number in range(500)))

    async def one_by_one(client: Any) -> list[bytes]:
        leases = Leases(client, 20)
        return [(await leases.fetch({"adding": 1}))[0].message for _ in range(ROUND * len(LISTS[Priority.LOW]))]

    taken = with_redis(one_by_one)
    assert sum(message.startswith(b"only") for message in taken) == len(LISTS[Priority.LOW])


def test_where_only_normal_jobs_wait_each_is_one_pop_and_no_turn_is_counted(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    for number in range(20):
        submit(row=number)
    store.config_resetstat()
    with_redis(lambda client: Leases(client, 20).fetch({"adding": 20}))
    calls = {name.removeprefix("cmdstat_"): each["calls"] for name, each in store.info("commandstats").items()}
    assert (calls["rpop"], calls["exists"]) == (20, 1)
    assert "llen" not in calls
    assert not store.exists(keys.TURNS)


def held(store: redis.Redis) -> dict[str, Any]:
    """Return the content of each queue."""
    return {priority.value: store.lrange(queue_name("adding", priority), 0, -1) for priority in Priority}


@pytest.mark.parametrize("how", ["give back", "expire"])
def test_what_comes_back_comes_back_to_its_level_and_its_place(
    store: redis.Redis, with_redis: WithRedis, how: str
) -> None:
    for number in range(4):
        for priority in Priority:
            submit(row=number, priority=priority)
    before = held(store)
    leased = with_redis(lambda client: Leases(client, 0.05).fetch({"adding": 9}))
    assert held(store) != before
    if how == "expire":
        eventually(lambda: with_redis(lambda client: Leases(client, 20).expire()) == 9)
    else:
        with_redis(lambda client: Leases(client, 20).give_back([each.tag for each in leased]))
    assert held(store) == before
