"""The duty that reads pairs: each counts once, after a crash and with several processes."""

from __future__ import annotations

import redis

from registry.database import Database
from registry.judging import rollouts, shadows
from registry.judging.shadows import Shadow
from tests.workers.judging.conftest import QUICK, Workers, begin, look, rollout_of
from workers import keys
from workers.judging.comparison.comparison import Comparison
from workers.judging.pairs_duty import PairsDuty


def shadow(database: Database) -> Shadow:
    with database.session() as session:
        found = shadows.create(session, "e", "2")
        session.commit()
    return found


def shadow_of(database: Database) -> Shadow:
    found: Shadow = look(database, lambda session: shadows.latest(session, "e"))
    return found


def test_pairs_feed_the_comparison_of_their_trial(database: Database, workers: Workers) -> None:
    trial = shadow(database)
    for index in range(30):
        workers.pair(trial.id, f"job-{index}", "cat", "dog" if index < 3 else "cat")
    workers.pair("another", "job-x", "cat", "dog")
    workers.pair(trial.id, "job-error", "cat", None)
    PairsDuty(database).read()
    found = shadow_of(database)
    assert (found.options["pairs"], found.options["disagreements"]) == (30, 3)
    state = look(database, lambda session: shadows.comparison(session, trial.id))
    report = Comparison.restored(state["comparison"]).report()
    assert report["jobs"] == 31
    assert {"job-0", "job-error"} <= {each["job_id"] for each in report["differences"]}


def test_a_pair_counts_once_after_a_restart_and_when_its_worker_writes_it_again(
    database: Database, workers: Workers, store: redis.Redis
) -> None:
    begin(database)
    rollout = rollout_of(database)
    workers.pair(rollout.id, "a", 1, 2)
    duty = PairsDuty(database)
    duty.read()
    duty.read()
    PairsDuty(database).read()
    workers.pair(rollout.id, "a", 1, 2)
    workers.pair(rollout.id, "b", 1, 1)
    PairsDuty(database).read()
    duty.read()
    found = rollout_of(database).figures
    assert (found["pairs"], found["disagreements"]) == (2, 1)
    assert store.xlen(keys.PAIRS) == 0, "what all trials have read is dropped"


def test_of_two_processes_each_pair_is_counted_by_one(database: Database, workers: Workers) -> None:
    trial = shadow(database)
    one, other = PairsDuty(database), PairsDuty(database)
    for index in range(20):
        workers.pair(trial.id, f"job-{index}")
        (one, other)[index % 2].read()
    assert shadow_of(database).options["pairs"] == 20


def test_what_another_process_stored_first_is_not_counted_twice(database: Database, workers: Workers) -> None:
    trial = shadow(database)
    workers.pair(trial.id, "a")
    before = shadow_of(database)
    PairsDuty(database).read()
    late = PairsDuty(database)
    late._read_of(database, before)
    assert shadow_of(database).options["pairs"] == 1
    late.read()
    assert shadow_of(database).options["pairs"] == 1


def test_a_pair_that_can_not_be_read_is_left_out(database: Database, workers: Workers, store: redis.Redis) -> None:
    trial = shadow(database)
    store.xadd(keys.PAIRS, {"trial_id": trial.id, "pair": "{"})
    workers.pair(trial.id, "a")
    PairsDuty(database).read()
    assert shadow_of(database).options["pairs"] == 1


def test_pairs_that_come_after_the_end_of_their_trial_are_dropped(
    database: Database, workers: Workers, store: redis.Redis
) -> None:
    workers.pair("ended", "a")
    PairsDuty(database).read()
    assert store.xlen(keys.PAIRS) == 0


def test_small_differences_of_numbers_are_no_disagreement(database: Database, workers: Workers) -> None:
    trial = shadow(database)
    workers.pair(trial.id, "a", 100.0, 105.0)
    workers.pair(trial.id, "b", 100.0, 120.0)
    PairsDuty(database).read()
    assert shadow_of(database).options["disagreements"] == 1


def test_reading_goes_on_beside_the_transitions_of_a_rollout(database: Database, workers: Workers) -> None:
    rollout = begin(database, QUICK)
    duty = PairsDuty(database)
    workers.pair(rollout.id, "a")
    duty.read()
    with database.session() as session:
        rollouts.begin(session, rollout_of(database), {"step_start": 5})
        session.commit()
    workers.pair(rollout.id, "b")
    duty.read()
    assert rollout_of(database).figures == {
        "step_start": 5, "pairs": 2, "disagreements": 0, "pairs_id": rollout_of(database).figures["pairs_id"],
    }  # fmt: skip
