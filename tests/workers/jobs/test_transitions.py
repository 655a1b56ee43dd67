"""Records: each change is one conditional step, and a terminal state is final."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from tests.workers.conftest import WithRedis, submit
from workers import keys
from workers.errors import PredictionFailed
from workers.jobs import query, records, transitions
from workers.jobs.accept import Idempotency
from workers.jobs.job import Job
from workers.jobs.query import JobState
from workers.jobs.transitions import Claim, Finish
from workers.measures import counters

NAME = "adding"


class Changes:
    """Every change that a job can meet, each as one call."""

    def __init__(self, with_redis: WithRedis, job_id: str) -> None:
        self._with_redis = with_redis
        self._job_id = job_id

    def cancel(self) -> None:
        now = time.time()
        record = records.revoked(Job(self._job_id, NAME, now), records.CANCELLED, now)
        transitions.withdraw(Job(self._job_id, NAME, None), record, force=True)

    def expire(self) -> None:
        now = time.time()
        record = records.revoked(Job(self._job_id, NAME, now), records.EXPIRED, now)
        transitions.withdraw(Job(self._job_id, NAME, None), record, force=False)

    def start(self) -> None:
        now = time.time()
        record = records.started(Job(self._job_id, NAME, now), now, attempts=1, worker="w")
        self._with_redis(lambda client: transitions.claim(client, NAME, [Claim(self._job_id, record, now)]))

    def succeed(self) -> None:
        now = time.time()
        outcome = b'{"prediction": 3}'
        record = records.succeeded(Job(self._job_id, NAME, now, attempts=1), outcome, now, now)
        self._finish(Finish(self._job_id, record, counters.Kind.SUCCEEDED, 1.0))

    def fail(self) -> None:
        now = time.time()
        record = records.failed(Job(self._job_id, NAME, now), PredictionFailed("no"), now)
        self._finish(Finish(self._job_id, record, counters.Kind.FAILED, 1.0))

    def forget(self) -> None:
        transitions.forget_queued(self._job_id, NAME)

    def _finish(self, finish: Finish) -> None:
        self._with_redis(lambda client: transitions.finish(client, NAME, [finish], time.time(), None))


ENDS: dict[str, Callable[[Changes], None]] = {
    "cancel": Changes.cancel,
    "succeed": Changes.succeed,
    "fail": Changes.fail,
}
AFTER = {**ENDS, "expire": Changes.expire, "start": Changes.start, "forget": Changes.forget}


@pytest.mark.parametrize("end", ENDS)
def test_a_terminal_record_is_final_whatever_comes_after_it(
    store: redis.Redis, with_redis: WithRedis, end: str
) -> None:
    changes = Changes(with_redis, submit().job_id)
    ENDS[end](changes)
    record = store.get(keys.record(changes._job_id))
    counts = store.hgetall(keys.counts(NAME))
    for change in AFTER.values():
        change(changes)
        assert store.get(keys.record(changes._job_id)) == record
    assert store.hgetall(keys.counts(NAME)) == counts
    assert store.zcard(keys.unfinished(NAME)) == store.zcard(keys.EXPIRING) == 0
    assert not store.exists(keys.message(changes._job_id))


@pytest.mark.slow
def test_of_changes_at_once_one_wins_and_is_counted_once(store: redis.Redis, with_redis: WithRedis) -> None:
    job_ids = [submit().job_id for _ in range(12)]
    with ThreadPoolExecutor(4) as pool:
        work = [
            pool.submit(ENDS[name], Changes(with_redis, job_id))
            for job_id, name in itertools.product(job_ids, ["cancel", "succeed", "fail"])
        ]
        for each in work:
            each.result()
    assert all(query.get(job_id).state.terminal for job_id in job_ids)
    counts = store.hmget(keys.counts(NAME), list(counters.Kind))
    assert sum(int(count or 0) for count in counts) == len(job_ids)


def test_a_queued_job_is_withdrawn_with_all_that_waits_for_it(store: redis.Redis) -> None:
    job_id = submit(expires=60).job_id
    heard = store.pubsub()  # type: ignore[no-untyped-call]
    heard.subscribe(keys.record(job_id))
    heard.get_message(timeout=5)
    record = records.revoked(Job(job_id, NAME, 1.0), records.CANCELLED, 2.0)
    assert transitions.withdraw(Job(job_id, NAME, None), record, force=False) == records.QUEUED
    assert store.get(keys.record(job_id)) == record
    assert store.ttl(keys.record(job_id)) == 86_400
    assert store.hget(keys.counts(NAME), "withdrawn") == b"1"
    # Celery's result consumers listen here.
    message = heard.get_message(timeout=5)
    assert message is not None
    assert message["data"] == record
    heard.close()


def test_a_running_job_is_withdrawn_by_force_alone(store: redis.Redis, with_redis: WithRedis) -> None:
    job_id = submit().job_id
    Changes(with_redis, job_id).start()
    record = records.revoked(Job(job_id, NAME, 1.0), records.CANCELLED, 2.0)
    assert transitions.withdraw(Job(job_id, NAME, None), record, force=False) == records.STARTED
    assert query.get(job_id).state is JobState.RUNNING
    assert transitions.withdraw(Job(job_id, NAME, None), record, force=True) == records.STARTED
    assert query.get(job_id).state is JobState.CANCELLED


def test_an_unknown_job_is_not_withdrawn(store: redis.Redis) -> None:
    assert transitions.withdraw(Job("nobody", NAME, None), b"{}", force=True) is None
    assert store.keys() == []


def test_a_record_that_nobody_can_read_is_left_alone(store: redis.Redis) -> None:
    store.set(keys.record("odd"), "odd")
    assert transitions.withdraw(Job("odd", NAME, None), b"{}", force=True) == "UNREADABLE"
    assert store.get(keys.record("odd")) == b"odd"


def test_a_queued_job_is_forgotten_with_everything(store: redis.Redis) -> None:
    once = Idempotency("key", b"request")
    before = submit().job_id
    stored = set(store.keys())
    job_id = submit(idempotency=once, expires=60).job_id
    [name] = store.keys(keys.idempotency("*"))
    scope = str(name, "ascii").rpartition(":")[2]  # type: ignore[arg-type, unused-ignore]
    transitions.forget_queued(job_id, NAME, scope)
    assert set(store.keys()) == stored
    assert [job.job_id for job in query.recent(NAME)] == [before]


def test_records_are_read_in_order_and_missing_ones_are_none(store: redis.Redis) -> None:
    first, second = submit().job_id, submit().job_id
    found = transitions.read([second, "nobody", first])
    assert found == [store.get(keys.record(second)), None, store.get(keys.record(first))]
    assert transitions.read([]) == []
