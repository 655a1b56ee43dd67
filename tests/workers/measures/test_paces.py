"""Estimated waits from the paces that workers report, and the reasons of missing estimates."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from tests.support.waiting import eventually
from tests.workers.conftest import WithRedis, submit
from tests.workers.stand_ins import endpoint_report, pace_report, version_report, worker_report
from workers.jobs import query
from workers.jobs.accept import Limits
from workers.measures import paces, reports
from workers.measures.paces import Pace, combined
from workers.measures.reports import HostsState, PaceReport
from workers.platform.redis.client import connect

ONE_BY_ONE = Pace(hosts=1, batch_jobs=1, fixed_ms=1_000, job_ms=0, known_jobs=4)
IN_BATCHES = Pace(hosts=2, batch_jobs=10, fixed_ms=1_000, job_ms=100, known_jobs=40)


def report(with_redis: WithRedis, *of_workers: PaceReport | None, state: HostsState = HostsState.READY) -> None:
    """Write reports of workers with "adding" in this state, each with its pace."""
    for number, pace in enumerate(of_workers):
        endpoint = endpoint_report(version_report(state), pace=pace)
        written = worker_report(f"w@{number}", endpoints={"adding": endpoint})
        with_redis(lambda client, written=written: reports.write(client, written))  # type: ignore[misc]
    paces.default_paces.cache_clear()


def queue_of(job_id: str) -> dict[str, Any]:
    """Return the queue position in the document of a job."""
    [job] = query.with_positions([query.get(job_id)])
    found: dict[str, Any] = job.document()["queue"]
    return found


@pytest.mark.parametrize(
    ("pace", "before", "wait_s"),
    [
        (ONE_BY_ONE, 0, 0.0),
        # Behind one that runs: half of its time is over, on average.
        (ONE_BY_ONE, 1, 0.5),
        (ONE_BY_ONE, 2, 1.5),
        (ONE_BY_ONE, 11, 10.5),
        # The second host is idle.
        (IN_BATCHES, 1, 0.0),
        # Both have a full batch of 2 s; of two, the first has a third of it left.
        (IN_BATCHES, 20, 2 / 3),
        (IN_BATCHES, 29, 2 / 3),
        (IN_BATCHES, 30, 2 / 3 + 1),
        (IN_BATCHES, 120, 2 / 3 + 10),
    ],
)
def test_a_job_waits_for_a_host_and_for_the_batches_before_its_own(pace: Pace, before: int, wait_s: float) -> None:
    assert pace.wait_s(before) == pytest.approx(wait_s)


def test_a_job_before_all_others_waits_for_a_host_that_has_one_of_them() -> None:
    assert ONE_BY_ONE.wait_s(0, others=50) == 0.5


def test_nothing_is_said_of_batches_that_are_much_larger_than_any_that_was_measured() -> None:
    pace = Pace(hosts=1, batch_jobs=64, fixed_ms=100, job_ms=0, known_jobs=4)
    assert [pace.wait_s(before) for before in (0, 4, 5)] == [0.0, 0.05, None]
    assert pace.jobs_per_s == 40


def test_hosts_of_several_workers_serve_one_queue() -> None:
    slow = Pace(hosts=1, batch_jobs=1, fixed_ms=3_000, job_ms=0, known_jobs=4)
    unsure = Pace(hosts=2, batch_jobs=1, fixed_ms=9_000, job_ms=0, known_jobs=1)
    assert combined([ONE_BY_ONE, slow]) == Pace(hosts=2, batch_jobs=1, fixed_ms=2_000, job_ms=0, known_jobs=4)
    assert combined([ONE_BY_ONE, unsure]) == Pace(hosts=3, batch_jobs=1, fixed_ms=1_000, job_ms=0, known_jobs=4)


def test_a_queued_job_tells_its_place_and_its_wait(store: redis.Redis, with_redis: WithRedis) -> None:
    report(with_redis, pace_report(), pace_report())
    *_, last = [submit().job_id for _ in range(12)]
    wait_s = pytest.approx(1 / 3 + 9 / 2, abs=0.001)
    assert queue_of(last) == {"position": 11, "estimated_wait_s": wait_s, "reason": None}


@pytest.mark.parametrize(
    ("state", "pace", "reason"),
    [
        (HostsState.READY, None, "not_measured"),
        (HostsState.READY, pace_report(batch_jobs=64.0, known_jobs=2.0), "not_measured"),
        (HostsState.LOADING, None, "no_ready_worker"),
        (HostsState.STOPPING, None, "no_ready_worker"),
    ],
)
def test_where_nobody_can_know_the_wait_the_reason_is_said(
    store: redis.Redis, with_redis: WithRedis, state: HostsState, pace: PaceReport | None, reason: str
) -> None:
    report(with_redis, pace, state=state)
    *_, last = [submit().job_id for _ in range(5)]
    assert queue_of(last) == {"position": 4, "estimated_wait_s": None, "reason": reason}


@pytest.mark.parametrize("before", [HostsState.LOADING, HostsState.READY])
def test_an_endpoint_that_has_become_ready_is_known_at_once(
    store: redis.Redis, with_redis: WithRedis, before: HostsState
) -> None:
    report(with_redis, None, state=before)
    known = paces.Paces()
    assert known.of("adding") == (None, before is HostsState.READY)
    report(with_redis, pace_report())
    eventually(lambda: known.of("adding")[0], paces._FRESH_S / 2, message="its pace is known")


def test_reports_that_can_not_be_read_are_not_asked_for_by_every_job(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def unreachable() -> redis.Redis:
        asked.append(1)
        return connect("redis://127.0.0.1:1")

    monkeypatch.setattr(paces, "records_client", unreachable)
    monkeypatch.setattr(paces, "_FRESH_IF_UNKNOWN_S", 0.0)
    known = paces.Paces()
    assert [known.of("adding") for _ in range(5)] == [(None, False)] * 5
    assert len(asked) == 1


def test_a_report_of_an_earlier_release_is_understood(store: redis.Redis, with_redis: WithRedis) -> None:
    endpoint: Any = {**endpoint_report(version_report(HostsState.READY)), "jobs_per_s": 5.0}
    del endpoint["pace"]
    with_redis(lambda client: reports.write(client, worker_report(endpoints={"adding": endpoint})))
    assert queue_of(submit().job_id)["reason"] == "not_measured"


def test_a_job_is_accepted_also_if_nobody_can_say_how_long_it_waits(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paces, "records_client", lambda: connect("redis://127.0.0.1:1"))
    job = query.submit("adding", {"input": 1}, Limits())
    assert job.queue_position is not None
    assert (job.queue_position.position, job.queue_position.estimated_wait_s) == (0, None)


@pytest.mark.parametrize(
    ("age_s", "usable"), [(0.4, {"adding", "other"}), (1.0, {"adding"}), (4.5, {"adding"}), (5.5, set())]
)
def test_old_paces_are_used_longer_for_an_endpoint_that_has_one(
    with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch, age_s: float, usable: set[str]
) -> None:
    report(with_redis, {"hosts": 1, "batch_jobs": 1.0, "fixed_ms": 1.0, "job_ms": 0.0, "known_jobs": 1.0})
    found = paces.default_paces()
    assert not found.is_usable("adding")
    now = time.monotonic()
    monkeypatch.setattr(paces, "time", SimpleNamespace(monotonic=lambda: now))
    assert found.of("adding")[0] is not None
    monkeypatch.setattr(paces, "time", SimpleNamespace(monotonic=lambda: now + age_s))
    assert {name for name in ("adding", "other") if found.is_usable(name)} == usable


def cold(with_redis: WithRedis, state: HostsState, pace: PaceReport | None = None, **more: Any) -> None:
    """Write the report of a worker that has no host of "adding"."""
    endpoint = endpoint_report(version_report(state, **more), pace=pace)
    written = worker_report(endpoints={"adding": endpoint})
    with_redis(lambda client: reports.write(client, written))
    paces.default_paces.cache_clear()


def test_a_job_of_an_asleep_endpoint_waits_for_the_load_as_it_was_measured(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    first, second = submit().job_id, submit().job_id
    cold(with_redis, HostsState.ASLEEP, pace_report(0), load_ms=2_500.0)
    assert queue_of(first) == {"position": 0, "estimated_wait_s": 2.5, "reason": "loading"}
    # Behind one other, half of whose second is over on average.
    assert queue_of(second) == {"position": 1, "estimated_wait_s": 3.0, "reason": "loading"}


def test_what_is_over_of_a_load_counts_no_more(store: redis.Redis, with_redis: WithRedis) -> None:
    job_id = submit().job_id
    cold(with_redis, HostsState.LOADING, load_ms=100_000.0, woken_at=time.time() - 40)
    assert queue_of(job_id)["estimated_wait_s"] == pytest.approx(60, abs=20)
    cold(with_redis, HostsState.LOADING, load_ms=100.0, woken_at=time.time() - 40)
    assert queue_of(job_id) == {"position": 0, "estimated_wait_s": 0.0, "reason": "loading"}


def test_a_load_that_has_not_been_measured_has_no_estimate(store: redis.Redis, with_redis: WithRedis) -> None:
    job_id = submit().job_id
    cold(with_redis, HostsState.ASLEEP)
    assert queue_of(job_id) == {"position": 0, "estimated_wait_s": None, "reason": "loading"}


def test_a_worker_that_is_ready_counts_before_one_that_sleeps(store: redis.Redis, with_redis: WithRedis) -> None:
    job_id = submit().job_id
    report(with_redis, pace_report())
    cold(with_redis, HostsState.ASLEEP, load_ms=2_500.0)
    assert queue_of(job_id) == {"position": 0, "estimated_wait_s": 0.0, "reason": None}
