"""The inputs of failed jobs: kept as dead letters of another kind, within bytes and time, and the oldest go first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import cast

import pytest
import redis

from tests.support.waiting import eventually
from tests.workers.conftest import WithRedis
from workers import keys
from workers.errors import DeadLetterNotFound, PredictionFailed
from workers.jobs import accept, dead_letters, query, records, transitions
from workers.jobs.dead_letters import BYTES_BESIDE_INPUT, DeadLetter, Kind
from workers.jobs.job import Job
from workers.jobs.query import JobState
from workers.jobs.transitions import Finish
from workers.measures import counters
from workers.settings import load

NAME = "adding"
ERROR = PredictionFailed("ValueError: too red")


@pytest.fixture(autouse=True)
def _settings_of_the_next_test() -> Iterator[None]:
    yield
    load.cache_clear()


def ending(store: redis.Redis, padding: int = 0, endpoint_name: str = NAME, *, keeps: bool = True) -> Finish:
    """Submit a job, and return its end as a failed one."""
    accepted = accept.submit((endpoint_name, [1, "x" * padding]), {})
    message = store.get(keys.message(accepted.job_id))
    assert isinstance(message, bytes)
    now = time.time()
    letter = DeadLetter(accepted.job_id, endpoint_name, message, (), now, now, Kind.FAILED, str(ERROR))
    record = records.failed(Job(accepted.job_id, endpoint_name, now, attempts=1), ERROR, now)
    kept = dead_letters.stored(letter) if keeps else b""
    return Finish(accepted.job_id, record, counters.Kind.FAILED, 5.0, letter=kept)


def end(with_redis: WithRedis, *finishes: Finish, endpoint_name: str = NAME, ttl_s: int | None = None) -> list[str]:
    refused: list[str | None] = []
    written = with_redis(
        lambda client: transitions.finish(client, endpoint_name, finishes, time.time(), ttl_s, (), refused.append)
    )
    assert all(written)
    assert refused == [None]
    return [each.job_id for each in finishes]


def kept(*job_ids: str) -> list[str]:
    """Return those of the jobs whose inputs are kept."""
    return [job_id for job_id in job_ids if is_kept(job_id)]


def is_kept(job_id: str) -> bool:
    try:
        dead_letters.get(job_id)
    except DeadLetterNotFound:
        return False
    return True


def counted(store: redis.Redis) -> dict[bytes, int]:
    found = cast("dict[bytes, bytes]", store.hgetall(keys.KEPT_INPUT_BYTES))
    return {name: int(value) for name, value in found.items()}


def room_for(monkeypatch: pytest.MonkeyPatch, *finishes: Finish) -> None:
    """Set the limit so that an endpoint may have just these."""
    needed = sum(len(each.letter) + BYTES_BESIDE_INPUT for each in finishes)
    # Times in messages have more digits or fewer.
    monkeypatch.setenv("QUEUECAST_FAILED_INPUTS_BYTES", str(4 * (needed + 60)))
    load.cache_clear()


def test_the_step_that_ends_a_job_keeps_its_input_as_long_as_its_record(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    [job_id, without] = end(with_redis, ending(store), ending(store, keeps=False), ttl_s=100)
    letter = dead_letters.get(job_id)
    assert (letter.rows(), letter.kind) == ({"input": [1, ""]}, Kind.FAILED)
    assert letter.document().items() >= {"kind": "failed", "reason": "ValueError: too red"}.items()
    assert 90 < store.ttl(keys.dead_letter(job_id)) <= 100
    assert not is_kept(without)
    assert query.get(job_id).state is JobState.FAILED
    assert not store.exists(keys.message(job_id))


def test_ordinary_failures_are_not_among_the_jobs_that_were_given_up(store: redis.Redis, with_redis: WithRedis) -> None:
    [first] = end(with_redis, ending(store))
    [second] = end(with_redis, ending(store))
    [other] = end(with_redis, ending(store, 0, "other"), endpoint_name="other")
    assert (dead_letters.count(), dead_letters.newest()) == (0, [])
    assert [each.job_id for each in dead_letters.newest(kind=Kind.FAILED)] == [other, second, first]
    assert [each.job_id for each in dead_letters.newest(NAME, kind=Kind.FAILED)] == [second, first]


def test_a_job_that_had_ended_before_keeps_no_input(store: redis.Redis, with_redis: WithRedis) -> None:
    late = ending(store)
    query.cancel(late.job_id)
    assert with_redis(lambda client: transitions.finish(client, NAME, [late], time.time(), None)) == [False]
    assert not is_kept(late.job_id)
    assert counted(store) == {}


def test_the_oldest_inputs_of_an_endpoint_go_first_and_all_are_counted(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = [ending(store, 100) for _ in range(6)]
    room_for(monkeypatch, *ends[:3])
    ids = end(with_redis, *ends[:5]) + end(with_redis, ends[5])
    assert kept(*ids) == ids[3:]
    bytes_kept = sum(len(each.letter) + BYTES_BESIDE_INPUT for each in ends[3:])
    assert counted(store) == {NAME.encode(): bytes_kept, b"": bytes_kept}
    assert store.zcard(keys.KEPT_INPUTS) == store.zcard(keys.kept_inputs(NAME)) == 3


def test_a_larger_input_makes_room_for_itself_and_one_that_is_too_large_costs_no_other(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = [ending(store) for _ in range(4)], ending(store, 1_000)
    room_for(monkeypatch, *small)
    ids = end(with_redis, *small, large)
    assert large.job_id in kept(*ids)
    assert 0 < len(kept(*ids)) < 4
    before = kept(*ids)
    end(with_redis, huge := ending(store, 20_000))
    assert kept(*ids, huge.job_id) == before


def test_an_endpoint_costs_others_nothing_until_all_together_have_too_much(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = {f"e{number}": [ending(store, 100, f"e{number}") for _ in range(3)] for number in range(5)}
    room_for(monkeypatch, *ends["e0"])
    for name, finishes in ends.items():
        end(with_redis, *finishes, endpoint_name=name)
    assert {name: len(kept(*(each.job_id for each in finishes))) for name, finishes in ends.items()} == {
        "e0": 0, "e1": 3, "e2": 3, "e3": 3, "e4": 3,
    }  # fmt: skip
    assert b"e0" not in counted(store)


def test_inputs_whose_time_is_over_are_no_longer_counted(store: redis.Redis, with_redis: WithRedis) -> None:
    [short] = end(with_redis, ending(store), ttl_s=1)
    eventually(lambda: not is_kept(short), message="its time is over")
    last = ending(store)
    end(with_redis, last)
    assert counted(store)[b""] == len(last.letter) + BYTES_BESIDE_INPUT
    assert store.zcard(keys.KEPT_INPUTS) == 1


def test_a_full_redis_ends_jobs_and_keeps_their_inputs(
    store: redis.Redis, with_redis: WithRedis, fill: Callable[[], None]
) -> None:
    finish = ending(store)
    fill()
    end(with_redis, finish)
    assert is_kept(finish.job_id)


def test_kept_inputs_have_at_most_a_share_of_the_memory_of_redis(store: redis.Redis, with_redis: WithRedis) -> None:
    finish = ending(store)
    store.hset(keys.LIMITS, ":bytes", 4 * 4 * (len(finish.letter) + BYTES_BESIDE_INPUT) - 16)
    assert kept(*end(with_redis, finish)) == []
    store.hset(keys.LIMITS, ":bytes", 4 * 4 * (len(finish.letter) + BYTES_BESIDE_INPUT + 60))
    assert kept(*end(with_redis, ending(store), ending(store)))


def test_nothing_is_kept_with_a_limit_of_zero(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUECAST_FAILED_INPUTS_BYTES", "0")
    load.cache_clear()
    assert kept(*end(with_redis, ending(store))) == []


def test_a_job_ends_although_its_input_can_not_be_kept(store: redis.Redis, with_redis: WithRedis) -> None:
    store.set(keys.KEPT_INPUTS, "not a zset")
    refused: list[str | None] = []
    finish = ending(store)
    written = with_redis(
        lambda client: transitions.finish(client, NAME, [finish], time.time(), None, (), refused.append)
    )
    assert written == [True]
    assert "WRONGTYPE" in str(refused[0])
    assert query.get(finish.job_id).state is JobState.FAILED
    assert not is_kept(finish.job_id)


def test_a_discarded_input_is_gone_and_no_longer_counted(store: redis.Redis, with_redis: WithRedis) -> None:
    [job_id] = end(with_redis, ending(store))
    dead_letters.discard(job_id)
    assert not is_kept(job_id)
    assert (counted(store), store.zcard(keys.KEPT_INPUTS)) == ({}, 0)
    with pytest.raises(DeadLetterNotFound):
        dead_letters.discard(job_id)


def test_what_is_given_up_under_the_same_id_is_not_deleted_with_the_kept_input(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = [ending(store) for _ in range(4)]
    room_for(monkeypatch, *others)
    end(with_redis, first)
    letter = dead_letters.get(first.job_id)
    with_redis(
        lambda client: dead_letters.keep(
            client, [DeadLetter(first.job_id, NAME, letter.message, (), letter.submitted_at, 5.0)]
        )
    )
    end(with_redis, *others)
    assert dead_letters.get(first.job_id).kind is Kind.GIVEN_UP
    assert dead_letters.count() == 1
