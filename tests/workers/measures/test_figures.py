"""Figures over time: minutes, ten minutes, and the depth of queues."""

from __future__ import annotations

import time
from collections import Counter

import pytest
import redis
from kombu.exceptions import OperationalError

from tests.workers.conftest import WithRedis, submit, submit_ids
from workers import keys
from workers.broker import backlogs
from workers.engine.upkeep import minutes
from workers.errors import QueueUnavailable
from workers.jobs import query, transitions
from workers.jobs.transitions import Finish
from workers.measures import counters, figures
from workers.measures.counters import Kind

#: The beginning of ten minutes.
START = 1_796_000_400.0 // 600 * 600
HOUR_S, DAY_S = 3_600, 86_400


def finish(
    with_redis: WithRedis,
    at: float,
    count: int = 1,
    kind: Kind = Kind.SUCCEEDED,
    *,
    latency_ms: float = 20.0,
    queued_ms: float = 5.0,
) -> None:
    """End jobs at a time (s since the epoch)."""
    ids = [f"{at}-{kind}-{latency_ms}-{number}" for number in range(count)]
    done = [Finish(each, b'{"status": "SUCCESS"}', kind, latency_ms, None, queued_ms, 10.0) for each in ids]
    with_redis(lambda client: transitions.finish(client, "adding", done, at, None))


def document(at: float, since_s: int = HOUR_S) -> list[dict[str, int | float | None]]:
    return [point.figures.document() for point in figures.read("adding", since_s, at)]


def test_an_hour_is_sixty_minutes_of_which_the_last_is_now(store: redis.Redis, with_redis: WithRedis) -> None:
    finish(with_redis, START - 59 * 60, 3)
    finish(with_redis, START - 60 * 60, 7)  # too old
    finish(with_redis, START + 59, 2, latency_ms=500.0)
    points = figures.read("adding", HOUR_S, START + 59.5)
    assert [point.at_s for point in points] == [START - 60 * each for each in range(59, -1, -1)]
    assert [point.figures.document()["jobs"] for point in points] == [3, *[0] * 58, 2]
    assert points[-1].figures.document()["total_p95_ms"] == pytest.approx(500, rel=0.1)


def test_each_minute_has_its_kinds_and_times(store: redis.Redis, with_redis: WithRedis) -> None:
    finish(with_redis, START, 3)
    finish(with_redis, START, 1, Kind.FAILED, latency_ms=200.0, queued_ms=80.0)
    unknown = Finish("unknown", b'{"status": "FAILURE"}', Kind.FAILED, None)
    withdrawn = Finish("withdrawn", b'{"status": "REVOKED"}', Kind.WITHDRAWN, None)
    with_redis(lambda client: transitions.finish(client, "adding", [unknown, withdrawn], START, None))
    found = document(START)[-1]
    assert [found[name] for name in ("jobs", "succeeded", "failed", "withdrawn")] == [6, 3, 2, 1]
    assert found["total_p50_ms"] == pytest.approx(20, rel=0.1)
    assert found["total_p95_ms"] == pytest.approx(200, rel=0.1)
    assert found["queued_p50_ms"] == pytest.approx(5, rel=0.1)
    assert found["queued_p95_ms"] == pytest.approx(80, rel=0.1)
    assert found["predict_p95_ms"] == pytest.approx(10, rel=0.1)
    assert found["queue_depth"] is None  # no worker has looked


def test_a_job_that_ends_twice_counts_once(store: redis.Redis, with_redis: WithRedis) -> None:
    finish(with_redis, START)
    finish(with_redis, START)
    assert document(START)[-1]["jobs"] == 1


def test_a_cancelled_job_counts_in_its_minute(store: redis.Redis) -> None:
    query.cancel(submit().job_id)
    assert figures.summary(figures.read("adding", HOUR_S)).document()["withdrawn"] == 1


def test_minutes_expire_by_themselves(store: redis.Redis, with_redis: WithRedis) -> None:
    finish(with_redis, START, 2)
    finish(with_redis, START + 1, 2)
    query.cancel(submit().job_id)
    names = store.keys("queuecast:minute:*")
    assert len(names) == 2
    assert all(HOUR_S < store.ttl(name) <= figures.MINUTES_LIVE_S for name in names)


def test_one_worker_samples_each_minute_how_many_jobs_wait(store: redis.Redis) -> None:
    now = time.time()
    submit_ids(3)
    minutes.keep(now)
    submit_ids(2)
    minutes.keep(now)  # another worker: this minute has its sample
    assert figures.read("adding", HOUR_S, now)[-1].figures.depth == 3
    assert figures.read("idle", HOUR_S, now)[-1].figures.depth == 0
    assert figures.read("adding", HOUR_S, now)[-2].figures.depth is None
    minutes.keep(now + 60)
    assert figures.read("adding", HOUR_S, now + 60)[-1].figures.depth == 5


def test_a_depth_that_can_not_be_read_is_unknown_and_minutes_are_added_up_all_the_same(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: object) -> None:
        raise OperationalError("the broker is away")

    store.sadd(keys.ENDPOINTS, "adding")
    finish(with_redis, START, 2)
    now = START + 15 * 60
    with monkeypatch.context() as patched:
        patched.setattr(backlogs, "read", away)
        with pytest.raises(QueueUnavailable):
            minutes.keep(now)
    assert figures.read("adding", HOUR_S, now)[-1].figures.depth is None
    assert store.hlen(keys.spans("adding")) == 1
    minutes.keep(now)
    assert figures.read("adding", HOUR_S, now)[-1].figures.depth == 0


def test_a_day_is_the_same_before_and_after_its_minutes_are_added_up(store: redis.Redis, with_redis: WithRedis) -> None:
    store.sadd(keys.ENDPOINTS, "adding")
    for minute in range(30):
        finish(with_redis, START + 60 * minute, 2, latency_ms=10.0 * (minute + 1))
    store.hset(keys.minute("adding", int(START // 60) + 3), figures.DEPTH, 9)
    now = START + 32 * 60 + 30
    before = document(now, DAY_S)
    minutes.keep(now)
    assert store.hlen(keys.spans("adding")) == 3
    store.delete(*store.keys("queuecast:minute:*"))
    after = document(now, DAY_S)
    assert after[-4:-1] == before[-4:-1]
    assert [each["jobs"] for each in after[-4:]] == [20, 20, 20, 0]
    assert [each["queue_depth"] for each in after[-4:]] == [9, None, None, 0]
    assert len(after) == 144


@pytest.mark.parametrize("time_ms", [0.01, 0.1, 1.0, 33.0, 5_000.0, 1e7])
def test_a_quantile_is_at_most_a_tenth_off(time_ms: float) -> None:
    found = figures.Figures(total=Counter({figures.bucket(time_ms): 1})).document()["total_p50_ms"]
    assert found == pytest.approx(max(time_ms, 0.1), rel=0.101)


def test_ten_minutes_are_the_same_after_they_were_text() -> None:
    given = figures.Figures(Counter(s=3, w=1), Counter({4: 2, 7: 1}), Counter({0: 3}), Counter({9: 3}), 12)
    assert given.packed() == "s=3 w=1 t4=2,,,1 q0=3 p9=3 d=12"
    again = figures.Figures()
    again.add(figures.unpacked(given.packed().encode()))
    assert again == given
    assert figures.Figures().packed() == ""


def test_minutes_are_added_up_after_a_pause_of_all_workers(store: redis.Redis, with_redis: WithRedis) -> None:
    store.sadd(keys.ENDPOINTS, "adding")
    finish(with_redis, START, 4)
    minutes.keep(START + 65 * 60)
    assert store.hkeys(keys.spans("adding")) == [str(int(START // 600)).encode()]
    assert sum(each["jobs"] or 0 for each in document(START + 20 * HOUR_S, DAY_S)) == 4


def test_old_spans_go_and_a_retired_endpoint_is_forgotten(store: redis.Redis, with_redis: WithRedis) -> None:
    store.sadd(keys.ENDPOINTS, "adding")
    for day in range(3):
        finish(with_redis, START + day * DAY_S, 1)
        minutes.keep(START + day * DAY_S + 20 * 60)
    assert store.hlen(keys.spans("adding")) == 2
    assert DAY_S < store.ttl(keys.spans("adding")) <= figures.SPANS_LIVE_S


def test_the_histogram_counts_each_job_up_to_its_bound(store: redis.Redis, with_redis: WithRedis) -> None:
    store.hset(keys.counts("adding"), "latency_ms", "500")  # of an earlier release
    for latency_ms in (4.0, 5.0, 5.1, 2_000_000.0):
        finish(with_redis, START, latency_ms=latency_ms)
    store.set(keys.counts("spoilt"), "no hash")
    found, empty, spoilt = map(counters.histogram, counters.read(["adding", "empty", "spoilt"], START))
    assert (found.jobs[0], found.jobs[1], found.jobs[-1], sum(found.jobs)) == (2, 1, 1, 4)
    assert found.sum_s == pytest.approx(2_000.0141)
    assert list(spoilt.jobs) == list(empty.jobs) == [0] * len(counters.BOUND_FIELDS)
