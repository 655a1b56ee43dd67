"""The duty that evaluates, where a step of it fails: it tries again later, a bounded number of times."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from sqlalchemy import update

from registry.database import Database
from registry.database.tables import EvaluationRow
from registry.errors import ArtifactStoreUnavailable, RegistryUnavailable
from registry.judging import evaluations
from registry.judging.evaluations import Evaluation
from registry.trials.trials import EvaluationState
from tests.workers.judging.conftest import look
from workers.errors import QueueUnavailable
from workers.judging import evaluating, sample
from workers.judging.comparison.pairs import Answer
from workers.judging.evaluating import MOST_TRIES, Evaluator
from workers.judging.sample import SampledJob


@pytest.fixture
def evaluator(database: Database, store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Evaluator:
    monkeypatch.setattr(evaluating, "default_database", lambda: database)
    with database.session() as session:
        options = {"max_jobs": 9, "control": 0.0, "max_s": 60, "comparison": {}}
        evaluations.create(session, "e", "2", source={"since": 0.0, "until": 1.0}, options=options)
        session.commit()
    return Evaluator()


def now(database: Database) -> Evaluation:
    with database.session() as session:
        [found] = evaluations.list_all(session)
    return found


def fail_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def failing(*_: Any) -> int:
        raise error

    monkeypatch.setattr(sample, "choose", failing)


def held_until(database: Database) -> float:
    found: datetime = look(database, lambda session: session.query(EvaluationRow.held_until).scalar())
    return (found - datetime.now(UTC)).total_seconds()


def become_due(database: Database) -> None:
    with database.session() as session:
        session.execute(update(EvaluationRow).values(held_until=datetime.now(UTC)))
        session.commit()


def test_an_error_of_the_store_puts_it_off_for_longer_each_time_and_fails_it_at_last(
    database: Database, evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, ArtifactStoreUnavailable("The bucket is gone."))
    pauses = list[float]()
    for _ in range(MOST_TRIES - 1):
        assert evaluator.work(threading.Event())
        assert not evaluator.work(threading.Event()), "it waits"
        found = now(database)
        assert (found.state, found.progress["last_error"]) == (EvaluationState.WAITING, "The bucket is gone.")
        pauses.append(held_until(database))
        become_due(database)
    assert pauses == sorted(pauses)
    assert pauses[0] < 10
    assert pauses[-1] > 200
    assert evaluator.work(threading.Event())
    found = now(database)
    assert found.state is EvaluationState.FAILED
    assert found.error == f"It was tried {MOST_TRIES} times; the last error: The bucket is gone."


@pytest.mark.parametrize(
    ("error", "reason"),
    [(PermissionError(13, "Permission denied", "/srv/x"), ": Permission denied"), (OSError("/srv"), "")],
)
def test_an_error_of_the_operating_system_is_shown_without_paths_which_the_log_has(
    database: Database,
    evaluator: Evaluator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: OSError,
    reason: str,
) -> None:
    fail_with(monkeypatch, error)
    monkeypatch.setattr(evaluating, "MOST_TRIES", 2)
    shown = f"Files of the evaluation can't be read or written{reason}. See the log of the background process."
    assert evaluator.work(threading.Event())
    assert now(database).progress["last_error"] == shown
    become_due(database)
    assert evaluator.work(threading.Event())
    assert now(database).error == f"It was tried 2 times; the last error: {shown}"
    assert "/srv" in caplog.text


@pytest.mark.parametrize(
    "error", [redis.ConnectionError("away"), QueueUnavailable("away"), RegistryUnavailable("away")]
)
def test_while_redis_or_the_registry_is_away_no_try_is_counted(
    database: Database, evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    fail_with(monkeypatch, error)
    with pytest.raises(type(error)):
        evaluator.work(threading.Event())
    assert now(database).progress == {}


def test_a_sample_that_can_not_be_removed_is_tried_again_later_without_an_end(
    database: Database, evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.session() as session:
        evaluations.cancel(session, now(database).evaluation_id)
        session.commit()

    def failing(_: str) -> None:
        raise ArtifactStoreUnavailable("The bucket is gone.")

    with monkeypatch.context() as patched:
        patched.setattr(sample, "remove", failing)
        for _ in range(MOST_TRIES + 2):
            assert evaluator.work(threading.Event())
            become_due(database)
    assert (now(database).state, now(database).cleared_at) == (EvaluationState.CANCELLED, None)
    assert evaluator.work(threading.Event())
    assert now(database).cleared_at is not None


def test_a_line_of_a_sample_has_only_what_is_known_and_members_of_a_newer_release_are_ignored() -> None:
    row = SampledJob("1", [[1.0]], False, Answer("1", ["cat"]), ["dog"])
    line = json.loads(row.encoded())
    assert line.keys() == {"job_id", "inputs", "many", "stable", "truths", "weight"}, "earlier processes read these"
    newer = {**line, "later": 1, "stable": {**line["stable"], "later": 1}}
    assert SampledJob.decoded(json.dumps(newer).encode()) == row
    job = replace(row, stable=None, owner="shop", finished_at=7.0)
    assert SampledJob.decoded(job.encoded()) == job
