"""Jobs that the journal forgets are gone from reports, comparisons and samples, also from those in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from registry.database import Database
from registry.errors import EvaluationChanged
from registry.judging import evaluations, rollouts
from registry.judging.evaluations import Evaluation, Hold
from tests.workers.judging.conftest import Workers, begin, look, rollout_of
from workers.journal.forgetting import Which
from workers.judging import evaluating, forgetting, sample
from workers.judging.comparison.comparison import Comparison
from workers.judging.comparison.forgetting import FORGOTTEN_MESSAGE, ForgottenJobs
from workers.judging.comparison.pairs import Answer, ComparisonOptions, Pair
from workers.judging.pairs_duty import PairsDuty
from workers.judging.sample import SampledJob

OWNERS = {"a": "shop", "b": "bank", "c": None}


def pair(job_id: str, *, known: bool = True, **candidate: Any) -> Pair:
    answers = Answer("1", ["cat"]), Answer("2", **{"predictions": ["dog"], **candidate})
    found = Pair(job_id, [[1.0]], *answers)
    return replace(found, owner=OWNERS.get(job_id), finished_at=100.0 + ord(job_id[0])) if known else found


def compared(*pairs: Pair) -> Comparison:
    comparison = Comparison(ComparisonOptions())
    for each in pairs:
        comparison.add(each)
    return comparison


def made(database: Database) -> tuple[Evaluation, Hold]:
    with database.session() as session:
        options = {"max_jobs": 9, "control": 0.0, "max_s": 60, "comparison": {}}
        found = evaluations.create(session, "e", "2", source={"since": 0.0, "until": 1.0}, options=options)
        held = evaluations.hold(session, "me", 60.0)
        assert held is not None
        mine = Hold(found.evaluation_id, "me", 60.0)
        evaluations.load(session, mine, {"jobs": 3, "replayed": 0})
        found = evaluations.replay(session, mine)
        session.commit()
    return found, mine


def reported(database: Database, *pairs: Pair) -> str:
    found, mine = made(database)
    with database.session() as session:
        evaluations.succeed(session, mine, compared(*pairs).report(), {})
        session.commit()
    return found.evaluation_id


def write_sample(evaluation_id: str) -> int:
    jobs = [SampledJob(each, [[1.0]], False, Answer("1", ["cat"]), None, 1.0, OWNERS[each], 1.0) for each in "abc"]
    return sample.write(evaluation_id, (each.encoded() for each in jobs))


def report_of(database: Database, evaluation_id: str) -> dict[str, Any]:
    found: Evaluation = look(database, lambda session: evaluations.find(session, evaluation_id))
    assert found.report is not None
    return found.report


@pytest.mark.parametrize(
    ("which", "left"),
    [
        (Which("e", job_ids=["a"]), ["b", "c"]),
        (Which("e", owner="bank"), ["a", "c"]),
        (Which("e", before=100.0 + ord("b")), ["b", "c"]),
        (Which("e", owner="shop", before=0.0), ["a", "b", "c"]),
        (Which("other", owner="bank"), ["a", "b", "c"]),
        (Which(job_ids=["a"], owner="bank"), ["a", "b", "c"]),
    ],
)
def test_examples_of_reports_go_by_job_owner_and_time(
    database: Database, data_dir: Path, which: Which, left: list[str]
) -> None:
    evaluation_id = reported(database, *map(pair, "abc"))
    assert forgetting.watched(database, "e") == {"a", "b", "c"}
    assert forgetting.forget(database, which, frozenset()) == 3 - len(left)
    report = report_of(database, evaluation_id)
    assert sorted(each["job_id"] for each in report["differences"]) == left
    assert (report["jobs"], report["agreement"]["rows"]) == (3, 3), "sums stay"


def test_examples_of_unknown_owners_go_if_they_may_be_meant(database: Database, data_dir: Path) -> None:
    evaluation_id = reported(database, pair("a"), pair("x", known=False), pair("y", known=False))
    assert forgetting.forget(database, Which(job_ids=["x"]), frozenset()) == 1
    assert forgetting.forget(database, Which(owner="nobody"), frozenset()) == 1
    assert [each["job_id"] for each in report_of(database, evaluation_id)["differences"]] == ["a"]


def test_messages_of_errors_go_with_their_jobs(database: Database, data_dir: Path) -> None:
    failed: dict[str, Any] = {"predictions": None, "error_code": "prediction_failed", "error_message": "no IBAN"}
    evaluation_id = reported(database, pair("a", **failed), pair("b", **failed), pair("c"))
    assert forgetting.forget(database, Which(owner="shop"), frozenset({"a"})) == 2
    [group] = report_of(database, evaluation_id)["errors"]["new"]
    assert (group["message"], group["job_id"], group["jobs"]) == (FORGOTTEN_MESSAGE, "", 2)


def test_a_rollouts_comparison_forgets_also_what_a_process_has_in_memory(
    database: Database, workers: Workers, store: redis.Redis, data_dir: Path
) -> None:
    begin(database)
    rollout = rollout_of(database)
    duty = PairsDuty(database)
    for job_id in ("a", "b"):
        workers.pair(rollout.id, job_id, "cat", "dog")
    duty.read()
    assert forgetting.watched(database) == {"a", "b"}
    assert forgetting.forget(database, Which(job_ids=["a"]), frozenset()) == 2
    workers.pair(rollout.id, "c", "cat", "dog")
    duty.read()
    state = look(database, lambda session: rollouts.comparison(session, rollout.id))
    report = Comparison.restored(state["comparison"]).report()
    assert sorted(each["job_id"] for each in report["differences"]) == ["b", "c"]
    assert sorted(state["job_ids"]) == ["b", "c"]
    assert report["jobs"] == 3
    assert rollout_of(database).figures["pairs"] == 3


def test_a_sample_forgets_jobs_and_the_process_that_replays_it_goes_on_from_what_is_stored(
    database: Database, store: redis.Redis, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "default_database", lambda: database)
    found, mine = made(database)
    write_sample(found.evaluation_id)
    run = evaluating._Run(found, mine, threading.Event())
    assert forgetting.forget(database, Which(owner="bank"), frozenset()) == 1
    [first, empty, last] = sample.read(found.evaluation_id)
    assert (first.job_id, empty.is_forgotten, last.job_id) == ("a", True, "c")
    with pytest.raises(EvaluationChanged):
        run._change(evaluations.save)
    again: Evaluation = look(database, lambda session: evaluations.find(session, found.evaluation_id))
    run = evaluating._Run(again, mine, threading.Event())
    [step] = run._left()
    assert ([each.job_id for each in step.jobs], step.ends_at) == (["a", "c"], 3)
    run._progress["position"] = 1
    [step] = run._left()
    assert [each.job_id for each in step.jobs] == ["c"]


def test_a_process_that_saves_while_its_sample_forgets_goes_on_from_what_is_stored(
    database: Database, store: redis.Redis, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "default_database", lambda: database)
    found, mine = made(database)
    write_sample(found.evaluation_id)
    run = evaluating._Run(found, mine, threading.Event())
    really_forget = sample.forget

    def outrun(evaluation_id: str, jobs: ForgottenJobs) -> int:
        if count := really_forget(evaluation_id, jobs):
            run._change(evaluations.save)
        return count

    monkeypatch.setattr(sample, "forget", outrun)
    assert forgetting.forget(database, Which(owner="bank"), frozenset()) == 1
    with pytest.raises(EvaluationChanged):
        run._change(evaluations.save)


def test_jobs_that_are_forgotten_while_a_process_chooses_are_in_no_sample(
    database: Database, store: redis.Redis, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "default_database", lambda: database)
    monkeypatch.setattr(evaluating, "_SAVE_INTERVAL_S", 0.0)
    with database.session() as session:
        options = {"max_jobs": 9, "control": 0.0, "max_s": 60, "comparison": {}}
        evaluations.create(session, "e", "2", source={"since": 0.0, "until": 1.0}, options=options)
        found = evaluations.hold(session, "me", 60.0)
        session.commit()
    assert found is not None
    really_choose, steps, outdated_events = sample.choose, list[str](), list[threading.Event]()

    def choose(evaluation: Evaluation, outdated: threading.Event) -> int:
        outdated_events.append(outdated)
        count = really_choose(evaluation, outdated)
        steps.append(f"{count} are written")
        return count

    def candidates(_: Evaluation) -> Iterator[SampledJob]:
        yield SampledJob("b", [[1.0]], False, Answer("1", ["cat"]), None, 1.0, "bank", 1.0)
        assert forgetting.forget(database, Which(owner="bank"), frozenset()) == 0, "the journal was read before"
        steps.append("forgotten")
        assert outdated_events[0].wait(60)

    monkeypatch.setattr(sample, "choose", choose)
    monkeypatch.setattr(sample, "_candidates", candidates)
    run = evaluating._Run(found, Hold(found.evaluation_id, "me", 60.0), threading.Event())
    with pytest.raises(EvaluationChanged):
        run._load()
    assert steps == ["forgotten", "0 are written"], "no thread of this try writes later"
    assert list(sample.read(found.evaluation_id)) == []
