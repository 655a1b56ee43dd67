"""Queue positions: the number of jobs before a queued one, of its own priority and of others."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.conftest import WithRedis, submit
from workers import keys
from workers.jobs import bulk, query, records, transitions
from workers.jobs.job import Job, JobOptions
from workers.jobs.transitions import Finish
from workers.measures import positions
from workers.measures.counters import Kind
from workers.measures.positions import JobsAhead
from workers.queues.priorities import ORDERS, ROUND, Priority

HIGH, NORMAL, LOW = Priority


def positions_of(*job_ids: str) -> list[int]:
    """Return the positions of jobs of "adding", in this order."""
    found = positions.read("adding", job_ids)
    return [found[each].position for each in job_ids]


def finish(with_redis: WithRedis, *job_ids: str) -> None:
    """End jobs as a worker does."""
    record = records.succeeded(Job(job_ids[0], "adding", 1.0, attempts=1), b"1", 2.0, 3.0)
    ends = [Finish(each, record, Kind.SUCCEEDED, 1.0) for each in job_ids]
    assert all(with_redis(lambda client: transitions.finish(client, "adding", ends, 3.0, None)))


def by_turns(waiting: Mapping[Priority, int], priority: Priority, before: int) -> int:
    """Count the jobs that are taken before one, turn by turn."""
    left, taken = {**waiting, priority: before + 1}, 0
    while True:
        turn = next(each for each in ORDERS[(taken + 1) % ROUND] if left.get(each))
        left[turn] -= 1
        if turn is priority and not left[priority]:
            return taken
        taken += 1


def test_the_position_counts_down_as_jobs_before_it_end(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = [submit().job_id for _ in range(4)]
    assert positions_of(*ids) == [0, 1, 2, 3]
    finish(with_redis, *ids[:2])
    assert positions_of(*ids[2:]) == [0, 1]
    assert positions.read("adding", [ids[0], "ghost"]) == {}


def test_what_a_submit_says_is_what_a_look_says(store: redis.Redis) -> None:
    for priority in (LOW, NORMAL, HIGH, NORMAL, LOW, HIGH):
        accepted = submit(priority=priority)
        assert accepted.ahead == positions.read("adding", [accepted.job_id])[accepted.job_id]


def test_urgent_jobs_are_before_those_that_came_earlier(store: redis.Redis) -> None:
    of = {priority: [submit(priority=priority).job_id for _ in range(3)] for priority in (LOW, NORMAL, HIGH)}
    assert positions_of(*of[HIGH], *of[NORMAL], *of[LOW]) == sorted(positions_of(*of[HIGH], *of[NORMAL], *of[LOW]))
    assert positions_of(*of[HIGH]) == [0, 1, 3]
    assert positions_of(of[LOW][-1]) == [8]


def test_of_a_long_backlog_the_first_of_each_level_is_taken_after_nine_others(store: redis.Redis) -> None:
    of = {priority: bulk.NewJob({"input": 1}, JobOptions(priority=priority)) for priority in (HIGH, LOW)}
    *_, low, second = bulk.submit("adding", [of[HIGH]] * 300 + [of[LOW]] * 2)
    assert positions_of(low, second) == [9, 19]
    assert positions_of(submit().job_id) == [9]
    assert query.cancel(low).priority is LOW
    assert positions_of(second) == [9]


def test_what_an_earlier_release_leaves_behind_is_tidied_away(store: redis.Redis) -> None:
    store.zadd(keys.prioritized("adding"), {f"{number}": sign * number for number in (1, 2, 3) for sign in (1, -1)})
    store.zadd(keys.prioritized("adding"), {"4": -4})
    job_id = submit(priority=LOW).job_id
    assert positions_of(job_id) == [0]
    assert store.zrange(keys.prioritized("adding"), 0, -1) == [job_id.encode()]


def test_no_ended_job_is_left_among_the_priorities(store: redis.Redis, with_redis: WithRedis) -> None:
    first, second, third = (submit(priority=priority).job_id for priority in (HIGH, LOW, HIGH))
    finish(with_redis, first, second)
    query.cancel(third)
    assert not store.exists(keys.prioritized("adding"))


@given(
    st.fixed_dictionaries({each: st.integers(0, 60) for each in Priority}),
    st.sampled_from(Priority),
    st.integers(0, 60),
)
def test_the_position_is_that_of_the_turns(waiting: dict[Priority, int], priority: Priority, before: int) -> None:
    others = {each: count for each, count in waiting.items() if each is not priority}
    assert JobsAhead(priority, before, others).position == pytest.approx(by_turns(others, priority, before), abs=ROUND)
