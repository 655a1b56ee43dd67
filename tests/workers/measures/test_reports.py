"""Reports of workers: only those of live workers count."""

from __future__ import annotations

import redis

from tests.workers.conftest import WithRedis
from tests.workers.stand_ins import endpoint_report, pace_report, version_report, worker_report
from workers import keys
from workers.deployments import status
from workers.measures import reports
from workers.measures.reports import REPORT_LIFE_S, HostsState


def age(store: redis.Redis, worker: str, seconds: float) -> None:
    """Age the worker's last report."""
    store.zincrby(keys.WORKERS, -seconds, worker)


def test_a_report_is_read_as_it_was_written_over_the_one_before(store: redis.Redis, with_redis: WithRedis) -> None:
    with_redis(lambda client: reports.write(client, worker_report()))
    report = worker_report(endpoints={"adding": endpoint_report(version_report(HostsState.READY), pace=pace_report())})
    with_redis(lambda client: reports.write(client, report))
    [read] = status.live_workers()
    assert read == {**report, "age_s": read["age_s"]}
    assert 0 <= read["age_s"] < REPORT_LIFE_S


def test_workers_come_by_name(store: redis.Redis, with_redis: WithRedis) -> None:
    for name in ("b@1", "c@1", "a@1"):
        with_redis(lambda client, name=name: reports.write(client, worker_report(name)))  # type: ignore[misc]
    assert [each["worker"] for each in status.live_workers()] == ["a@1", "b@1", "c@1"]


def test_a_worker_that_was_silent_for_too_long_counts_as_gone(store: redis.Redis, with_redis: WithRedis) -> None:
    for name in ("silent@1", "late@1"):
        with_redis(lambda client, name=name: reports.write(client, worker_report(name)))  # type: ignore[misc]
    age(store, "silent@1", REPORT_LIFE_S + 1)
    age(store, "late@1", REPORT_LIFE_S - 5)
    assert [each["worker"] for each in status.live_workers()] == ["late@1"]
    with_redis(lambda client: reports.write(client, worker_report("silent@1")))
    assert [each["worker"] for each in status.live_workers()] == ["late@1", "silent@1"]


def test_a_worker_that_stops_takes_its_report_along(store: redis.Redis, with_redis: WithRedis) -> None:
    with_redis(lambda client: reports.write(client, worker_report()))
    with_redis(lambda client: reports.remove(client, "w@1"))
    assert status.live_workers() == []
    assert store.keys() == []


def test_reports_of_the_long_gone_are_removed_by_those_that_live(store: redis.Redis, with_redis: WithRedis) -> None:
    for name in ("old@1", "older@1", "recent@1"):
        with_redis(lambda client, name=name: reports.write(client, worker_report(name)))  # type: ignore[misc]
    age(store, "old@1", 3_700)
    age(store, "older@1", 100_000)
    age(store, "recent@1", 3_000)
    with_redis(lambda client: reports.write(client, worker_report("new@1")))
    assert set(store.hkeys(keys.REPORTS)) == set(store.zrange(keys.WORKERS, 0, -1)) == {b"recent@1", b"new@1"}


def test_a_time_without_a_report_is_no_worker(store: redis.Redis, with_redis: WithRedis) -> None:
    with_redis(lambda client: reports.write(client, worker_report()))
    store.hdel(keys.REPORTS, "w@1")
    assert status.live_workers() == []
