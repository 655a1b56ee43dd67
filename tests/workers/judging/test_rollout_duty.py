"""The duty that decides rollouts, with a real registry and Redis, and figures that workers would have written."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import update

from registry.database import Database
from registry.database.tables import DeploymentRow, EvaluationRow, RolloutRow
from registry.judging import rollouts, shadows
from registry.serving.rollout_plan import Plan
from tests.support.waiting import eventually
from tests.workers.judging.conftest import QUICK, Workers, begin, deployed, look, pass_time, rollout_of
from workers import keys
from workers.judging import rollout_decisions
from workers.judging.rollout_duty import RolloutDuty
from workers.measures.reports import HostsState


@pytest.fixture
def duty(database: Database, store: redis.Redis) -> RolloutDuty:
    return RolloutDuty(database)


def test_a_good_candidate_goes_through_all_steps_and_is_promoted(
    database: Database, workers: Workers, duty: RolloutDuty
) -> None:
    rollout = begin(database)
    workers.report(HostsState.LOADING)
    duty.look()
    assert rollout_of(database).state == "loading"
    workers.report(HostsState.READY)
    duty.look()
    running = rollout_of(database)
    assert (running.state, running.step, running.weight) == ("running", 0, 0.1)
    duty.look()
    assert rollout_of(database).step == 0, "no job has met the candidate"
    workers.answer(rollout.id, 900, 100)
    duty.look()
    assert rollout_of(database).step == 0, "the step is not over"
    pass_time(database)
    duty.look()
    assert rollout_of(database).weight == 1.0
    pass_time(database)
    duty.look()
    assert rollout_of(database).state == "running", "the jobs of the step before don't count for this one"
    workers.answer(rollout.id, 0, 100)
    duty.look()
    assert rollout_of(database).state == "promoted"
    found = deployed(database)
    assert (found.version, found.candidate) == ("2", None)
    events = look(database, lambda session: rollouts.events(session, rollout.id))
    assert [each.event for each in events] == ["promote", "step", "step", "loading"]
    assert events[0].details["figures"]["candidate"]["jobs"] == 200


def test_workers_hear_of_each_step(database: Database, workers: Workers, duty: RolloutDuty, store: redis.Redis) -> None:
    with store.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
        channel.subscribe(keys.NUDGE_CHANNEL)
        channel.get_message(timeout=5)
        begin(database)
        workers.report()
        duty.look()
        assert channel.get_message(timeout=5) is not None


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ({"candidate__errors": 60}, "60 of 300 jobs failed on the candidate"),
        ({"candidate__timed_out": 60}, "60 of 300 jobs failed on the candidate"),
        ({"candidate__wrong_shape": 60}, "60 of 300 jobs failed on the candidate"),
        ({"candidate__lost_hosts": 1}, "lost 1 model host"),
        ({"candidate__copies_lost_hosts": 2}, "lost 2 model hosts under a job, or under a copy of one"),
    ],
)
@pytest.mark.parametrize("is_paused", [False, True])
def test_a_bad_candidate_is_aborted_also_while_the_rollout_is_paused(
    database: Database,
    workers: Workers,
    duty: RolloutDuty,
    caplog: pytest.LogCaptureFixture,
    counts: dict[str, int],
    reason: str,
    is_paused: bool,
) -> None:
    rollout = begin(database, Plan())
    workers.report()
    duty.look()
    if is_paused:
        with database.session() as session:
            rollouts.pause(session, rollout_of(database), None, actor="ada")
            session.commit()
    workers.answer(rollout.id, 900, 300)
    workers.count(rollout.id, **counts)
    with caplog.at_level(logging.WARNING):
        duty.look()
    ended = rollout_of(database)
    assert ended.state == "aborted"
    assert reason in str(ended.reason)
    assert deployed(database).candidate is None
    assert "rollout of version 2 on e: abort" in caplog.text


@pytest.mark.parametrize(("lost_batches", "state"), [(1, "running"), (8, "aborted")])
def test_a_batch_that_times_out_counts_once_and_a_candidate_that_is_always_too_slow_is_aborted(
    database: Database, workers: Workers, duty: RolloutDuty, lost_batches: int, state: str
) -> None:
    rollout = begin(database)
    workers.report()
    duty.look()
    good = 300 if state == "running" else 0
    workers.answer(rollout.id, 900, good)
    again = 16 * lost_batches
    workers.count(
        rollout.id,
        candidate__timed_out=lost_batches,
        candidate__unjudged=again - lost_batches,
        candidate__fell_back=again,
        candidate__succeeded=again,
    )
    duty.look()
    found = rollout_of(database)
    assert found.state == state
    assert state == "running" or f"{lost_batches} of {lost_batches} jobs failed" in str(found.reason)


def test_a_slow_candidate_is_aborted(database: Database, workers: Workers, duty: RolloutDuty) -> None:
    rollout = begin(database)
    workers.report()
    duty.look()
    workers.answer(rollout.id, 900, 100, ms=100.0)
    duty.look()
    assert "95th percentile" in str(rollout_of(database).reason)


def test_too_few_jobs_pause_a_rollout_and_never_pass(database: Database, workers: Workers, duty: RolloutDuty) -> None:
    rollout = begin(database)
    workers.report()
    duty.look()
    workers.answer(rollout.id, 900, 49)
    pass_time(database, QUICK.step_s * rollout_decisions.PATIENCE + 1)
    duty.look()
    paused = rollout_of(database)
    assert (paused.state, paused.weight) == ("paused", 0.1)
    assert "Inconclusive: Only 49 of 50" in str(paused.reason)
    assert deployed(database).candidate is not None


def test_a_candidate_that_no_worker_can_load_is_aborted_with_the_error(
    database: Database, workers: Workers, duty: RolloutDuty
) -> None:
    begin(database)
    workers.report(HostsState.READY, worker="w2")
    workers.report(HostsState.FAILED, "no module named torch")
    duty.look()
    assert rollout_of(database).reason == "The candidate can't be loaded: no module named torch"


def test_the_first_step_waits_for_all_workers_of_the_group(
    database: Database, workers: Workers, duty: RolloutDuty
) -> None:
    begin(database)
    duty.look()
    assert rollout_of(database).state == "loading", "no worker lives"
    workers.report(HostsState.READY)
    workers.report(HostsState.LOADING, worker="w2")
    duty.look()
    assert rollout_of(database).state == "loading"
    workers.report(HostsState.READY, worker="w2")
    duty.look()
    assert rollout_of(database).state == "running"


def test_a_candidate_that_is_never_loaded_is_aborted(
    database: Database, duty: RolloutDuty, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(database)
    monkeypatch.setattr(rollout_decisions, "LOAD_S", -1.0)
    duty.look()
    assert "The group has no worker" in str(rollout_of(database).reason)


def test_a_candidate_that_one_worker_never_loads_is_aborted_with_its_name(
    database: Database, workers: Workers, duty: RolloutDuty, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(database)
    workers.report()
    workers.report(HostsState.LOADING, worker="w2")
    monkeypatch.setattr(rollout_decisions, "LOAD_S", -1.0)
    duty.look()
    assert "Worker w2 is without it." in str(rollout_of(database).reason)


def test_a_worker_of_a_release_without_candidates_pauses_a_rollout_with_its_name(
    database: Database, workers: Workers, duty: RolloutDuty
) -> None:
    begin(database)
    workers.report()
    workers.report_of_earlier_release("old")
    duty.look()
    assert rollout_of(database).state == "loading", "it may be upgraded now"
    with database.session() as session:
        long_ago = datetime.now(UTC) - timedelta(seconds=rollout_decisions.UPGRADE_S + 1)
        session.execute(update(RolloutRow).values(created_at=long_ago))
        session.commit()
    duty.look()
    paused = rollout_of(database)
    reason = "Worker old is of a release that serves no candidates. Upgrade, then resume the rollout."
    assert (paused.state, paused.reason, paused.weight) == ("paused", reason, 0.0)
    duty.look()
    workers.report(worker="old")
    with database.session() as session:
        rollouts.resume(session, rollout_of(database))
        session.commit()
    duty.look()
    assert (rollout_of(database).state, rollout_of(database).weight) == ("running", 0.1)


def test_a_swap_by_a_release_without_rollouts_ends_one(database: Database, duty: RolloutDuty) -> None:
    begin(database)
    with database.session() as session:
        session.execute(update(DeploymentRow).values(version="3", revision=DeploymentRow.revision + 1))
        session.commit()
    duty.look()
    assert rollout_of(database).state == "aborted"
    found = deployed(database)
    assert (found.version, found.candidate) == ("3", None)


def test_a_shadow_whose_candidate_can_not_be_loaded_fails(
    database: Database, workers: Workers, duty: RolloutDuty
) -> None:
    with database.session() as session:
        shadows.create(session, "e", "2")
        session.commit()
    workers.report()
    duty.look()
    assert look(database, lambda session: shadows.latest(session, "e")).state == "running"
    workers.report(HostsState.FAILED, "damaged")
    duty.look()
    found = look(database, lambda session: shadows.latest(session, "e"))
    assert (found.state, found.reason) == ("failed", "The candidate can't be loaded: damaged")
    assert deployed(database).candidate is None


@pytest.mark.parametrize(
    ("verdict", "state"),
    [("same", "loading"), ("better", "loading"), ("worse", "aborted"), ("differs", "aborted"),
     ("inconclusive", "paused"), (None, "aborted")],
)  # fmt: skip
def test_a_rollout_that_begins_with_an_evaluation_follows_its_verdict(
    database: Database, duty: RolloutDuty, verdict: str | None, state: str
) -> None:
    now = datetime.now(UTC)
    values: dict[str, Any] = {
        "endpoint_name": "e", "model_name": "m", "version": "2", "stable_version": "1", "worker_group": "default",
        "source": {}, "options": {}, "state": "running", "progress": {}, "created_at": now, "revision": 1,
    }  # fmt: skip
    with database.session() as session:
        session.add(EvaluationRow(id="x" * 32, **values))
        session.commit()
    begin(database, evaluation_id="x" * 32)
    duty.look()
    assert rollout_of(database).state == "evaluating"
    with database.session() as session:
        session.execute(update(EvaluationRow).values(finished_at=now, verdict=verdict, error=None))
        session.commit()
    duty.look()
    assert rollout_of(database).state == state


def test_after_an_evaluation_workers_have_their_whole_time_to_load(database: Database, duty: RolloutDuty) -> None:
    rollout = begin(database)
    long_ago = datetime.now(UTC) - timedelta(seconds=rollout_decisions.LOAD_S + 1)
    with database.session() as session:
        session.execute(update(RolloutRow).values(created_at=long_ago, state="paused", step=-1))
        rollouts.resume(session, rollouts.find(session, rollout.id))
        session.commit()
    duty.look()
    assert rollout_of(database).state == "loading"


def test_of_two_processes_that_look_at_once_each_step_is_made_once(
    database: Database, workers: Workers, duty: RolloutDuty
) -> None:
    rollout = begin(database, replace(QUICK, steps=[1, 2, 3, 4, 5, 100], min_jobs=1))
    workers.report()
    duty.look()
    for step in range(1, 6):
        workers.answer(rollout.id, 10, 1)
        pass_time(database)
        others = [threading.Thread(target=RolloutDuty(database).look) for _ in range(4)]
        for each in others:
            each.start()
        for each in others:
            each.join()
        duty.look()
        assert rollout_of(database).step == step
    events = look(database, lambda session: rollouts.events(session, rollout.id))
    assert [each.details.get("step") for each in events if each.event == "step"] == [6, 5, 4, 3, 2, 1]


def test_it_runs_until_it_is_stopped(database: Database, workers: Workers, duty: RolloutDuty) -> None:
    begin(database)
    workers.report()
    stopping = threading.Event()
    thread = threading.Thread(target=duty.run, args=(stopping,))
    thread.start()
    try:
        eventually(lambda: rollout_of(database).state == "running")
    finally:
        stopping.set()
        thread.join()


def test_a_rollout_waits_while_redis_is_away(
    database: Database, workers: Workers, duty: RolloutDuty, store: redis.Redis
) -> None:
    begin(database)
    workers.report()
    store.set(keys.WORKERS, "this is no zset")
    duty.look()
    assert rollout_of(database).state == "loading"
    store.delete(keys.WORKERS)
    workers.report()
    duty.look()
    assert rollout_of(database).state == "running"
