"""Records: each change is one conditional step, and a terminal state is final."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from tests.workers.conftest import WithRedis, submit
from workers import documents, jobs, keys, records, statistics
from workers.engine import outcomes
from workers.engine.outcomes import Claim, Finish
from workers.errors import PredictionFailed
from workers.jobs import JobState
from workers.submission import Idempotency

NAME = "adding"


class Changes:
    """Every change that a job can meet, each as one call."""

    def __init__(self, with_redis: WithRedis, job_id: str) -> None:
        self._with_redis = with_redis
        self._job_id = job_id

    def cancel(self) -> None:
        now = time.time()
        record = documents.revoked(self._job_id, NAME, documents.CANCELLED, now, now)
        records.withdraw(self._job_id, NAME, record, force=True)

    def expire(self) -> None:
        now = time.time()
        record = documents.revoked(self._job_id, NAME, documents.EXPIRED, now, now)
        records.withdraw(self._job_id, NAME, record, force=False)

    def start(self) -> None:
        now = time.time()
        record = documents.started(self._job_id, NAME, now, now, worker="w", attempts=1)
        self._with_redis(lambda client: outcomes.claim(client, NAME, [Claim(self._job_id, record, now)]))

    def succeed(self) -> None:
        now = time.time()
        outcome = b'{"prediction": 3}'
        record = documents.succeeded(self._job_id, NAME, outcome, now, now, now)
        self._finish(Finish(self._job_id, record, statistics.Kind.SUCCEEDED, 1.0))

    def fail(self) -> None:
        now = time.time()
        record = documents.failed(self._job_id, NAME, PredictionFailed("no"), now, now)
        self._finish(Finish(self._job_id, record, statistics.Kind.FAILED, 1.0))

    def forget(self) -> None:
        records.forget_queued(self._job_id, NAME)

    def _finish(self, finish: Finish) -> None:
        self._with_redis(lambda client: outcomes.finish(client, NAME, [finish], time.time(), None))


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


def test_of_changes_at_once_one_wins_and_is_counted_once(store: redis.Redis, with_redis: WithRedis) -> None:
    job_ids = [submit().job_id for _ in range(12)]
    with ThreadPoolExecutor(4) as pool:
        work = [
            pool.submit(ENDS[name], Changes(with_redis, job_id))
            for job_id, name in itertools.product(job_ids, ["cancel", "succeed", "fail"])
        ]
        for each in work:
            each.result()
    assert all(jobs.get(job_id).state.terminal for job_id in job_ids)
    counts = store.hmget(keys.counts(NAME), list(statistics.Kind))
    assert sum(int(count or 0) for count in counts) == len(job_ids)


def test_a_queued_job_is_withdrawn_with_all_that_waits_for_it(store: redis.Redis) -> None:
    job_id = submit(expires=60).job_id
    heard = store.pubsub()  # type: ignore[no-untyped-call]
    heard.subscribe(keys.record(job_id))
    heard.get_message(timeout=5)
    record = documents.revoked(job_id, NAME, documents.CANCELLED, 1.0, 2.0)
    assert records.withdraw(job_id, NAME, record, force=False) == documents.QUEUED
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
    record = documents.revoked(job_id, NAME, documents.CANCELLED, 1.0, 2.0)
    assert records.withdraw(job_id, NAME, record, force=False) == documents.STARTED
    assert jobs.get(job_id).state is JobState.RUNNING
    assert records.withdraw(job_id, NAME, record, force=True) == documents.STARTED
    assert jobs.get(job_id).state is JobState.CANCELLED


def test_an_unknown_job_is_not_withdrawn(store: redis.Redis) -> None:
    assert records.withdraw("nobody", NAME, b"{}", force=True) is None
    assert store.keys() == []


def test_a_record_that_nobody_can_read_is_left_alone(store: redis.Redis) -> None:
    store.set(keys.record("odd"), "odd")
    assert records.withdraw("odd", NAME, b"{}", force=True) == "UNREADABLE"
    assert store.get(keys.record("odd")) == b"odd"


def test_a_queued_job_is_forgotten_with_everything(store: redis.Redis) -> None:
    once = Idempotency("key", b"request")
    before = submit().job_id
    stored = set(store.keys())
    job_id = submit(idempotency=once, expires=60).job_id
    [name] = store.keys(keys.idempotency("*"))
    scope = str(name, "ascii").rpartition(":")[2]  # type: ignore[arg-type, unused-ignore]
    records.forget_queued(job_id, NAME, scope)
    assert set(store.keys()) == stored
    assert [job.job_id for job in jobs.recent(NAME)] == [before]


def test_records_are_read_in_order_and_missing_ones_are_none(store: redis.Redis) -> None:
    first, second = submit().job_id, submit().job_id
    found = records.read([second, "nobody", first])
    assert found == [store.get(keys.record(second)), None, store.get(keys.record(first))]
    assert records.read([]) == []
