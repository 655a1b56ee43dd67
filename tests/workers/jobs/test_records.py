"""Records: what is written is read again, by us and by any Celery program."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import redis
from celery import Celery
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

import queuecast.errors
from workers import errors, keys
from workers.errors import JobFailed, WorkerError
from workers.jobs import query, records
from workers.jobs.job import Failure, Job
from workers.jobs.query import JobState, JobView

TEXTS = st.text(st.characters(), max_size=20)  # also half surrogate pairs, quotes and line breaks
IDS = st.text(min_size=1, max_size=20)
TIMES = st.floats(1, 4e9)
MAYBE_TIMES = st.none() | TIMES
FAILURES = st.lists(
    st.builds(Failure, attempt=st.integers(1, 20), worker=TEXTS, at=TIMES, reason=TEXTS), max_size=3
).map(tuple)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
OUTCOMES = st.fixed_dictionaries({"endpoint_name": IDS, "attempts": st.integers(1, 20), "prediction": JSON})


def the_classes(root: type[JobFailed] = JobFailed) -> list[type[JobFailed]]:
    return [root, *(each for below in root.__subclasses__() for each in the_classes(below))]


ERRORS = st.builds(lambda kind, text: kind(text), st.sampled_from(the_classes()), TEXTS)


@given(IDS, IDS, MAYBE_TIMES, MAYBE_TIMES)
def test_queued_jobs_are_read_again(job_id: str, name: str, sent: float | None, expires: float | None) -> None:
    record = records.queued(Job(job_id, name, sent, expires_at=expires))
    assert not records.is_terminal(record)
    expected = JobView(job_id, name, state=JobState.QUEUED, submitted_at=sent, expires_at=expires)
    assert read(job_id, record) == expected


@given(IDS, IDS, MAYBE_TIMES, TIMES, TEXTS, st.integers(1, 20), FAILURES)
def test_running_jobs_are_read_again(
    job_id: str,
    name: str,
    submitted_at: float | None,
    at: float,
    worker: str,
    attempts: int,
    failures: tuple[Failure, ...],
) -> None:
    job = Job(job_id, name, submitted_at, failures=failures)
    record = records.started(job, at, attempts=attempts, worker=worker)
    assert not records.is_terminal(record)
    assert read(job_id, record) == JobView(
        job_id, name, state=JobState.RUNNING,
        submitted_at=submitted_at, started_at=at, attempts=attempts, failures=failures,
    )  # fmt: skip


@given(IDS, OUTCOMES, MAYBE_TIMES, TIMES, TIMES, FAILURES)
def test_succeeded_jobs_are_read_again(
    job_id: str,
    outcome: dict[str, Any],
    sent: float | None,
    began: float,
    ended: float,
    failures: tuple[Failure, ...],
) -> None:
    text = json.dumps(outcome).encode()
    attempts, name = outcome["attempts"], outcome["endpoint_name"]
    record = records.succeeded(Job(job_id, name, sent, attempts=attempts, failures=failures), text, began, ended)
    assert records.is_terminal(record)
    assert read(job_id, record) == JobView(
        job_id, name, state=JobState.SUCCEEDED, submitted_at=sent, started_at=began,
        finished_at=ended, attempts=outcome["attempts"], outcome=outcome, failures=failures,
    )  # fmt: skip


@given(IDS, IDS, ERRORS, MAYBE_TIMES, TIMES, MAYBE_TIMES, st.integers(0, 20), FAILURES, TEXTS)
def test_failed_jobs_are_read_again(
    job_id: str,
    name: str,
    error: JobFailed,
    submitted_at: float | None,
    ended: float,
    began: float | None,
    attempts: int,
    failures: tuple[Failure, ...],
    traceback: str,
) -> None:
    job = Job(job_id, name, submitted_at, attempts=attempts, failures=failures)
    record = records.failed(job, error, ended, started_at=began, traceback=traceback)
    assert records.is_terminal(record)
    assert read(job_id, record) == JobView(
        job_id, name, state=JobState.FAILED, submitted_at=submitted_at, started_at=began, finished_at=ended,
        attempts=attempts, error={"code": error.code, "type": type(error).__name__, "message": str(error)},
        failures=failures, traceback=traceback or None,
    )  # fmt: skip


@given(IDS, IDS, st.sampled_from([records.CANCELLED, records.EXPIRED]), MAYBE_TIMES, TIMES)
def test_withdrawn_jobs_are_read_again(
    job_id: str, name: str, reason: str, submitted_at: float | None, ended: float
) -> None:
    record = records.revoked(Job(job_id, name, submitted_at), reason, ended)
    assert records.is_terminal(record)
    assert read(job_id, record) == JobView(
        job_id, name, submitted_at, state=JobState(reason), finished_at=ended
    )  # fmt: skip


def read(job_id: str, record: bytes) -> JobView:
    """Parse a record; what the HTTP API shows of it is JSON with times that anybody can read."""
    job = query.parse(job_id, record)
    assert job.state.terminal == records.is_terminal(record)
    document = job.document()
    json.dumps(document, allow_nan=False).encode()
    for name in ("submitted_at", "started_at", "finished_at", "expires_at"):
        assert (document[name] is None) == (getattr(job, name) is None)
    return job


def test_an_outcome_holds_the_predictions_as_they_came() -> None:
    timing = records.Timing(queued_ms=1.5, predict_ms=0.5, total_ms=2.25)
    outcome = records.Outcome(
        predictions=[Raw(b"12345678901234567890123"), Raw(b'{"a": [1.50, null]}')], endpoint_name="adding",
        model_name="adder", version="1", worker="w@1", batch_size=17, timing=timing, attempts=1,
    )  # fmt: skip
    text = records.outcome(outcome)
    assert b'"predictions":[12345678901234567890123,{"a": [1.50, null]}]' in text
    assert json.loads(text) == {
        "predictions": [12345678901234567890123, {"a": [1.5, None]}], "endpoint_name": "adding", "model_name": "adder",
        "version": "1", "worker": "w@1", "batch_size": 17,
        "timing": {"queued_ms": 1.5, "predict_ms": 0.5, "total_ms": 2.25}, "attempts": 1,
    }  # fmt: skip


def result_of(store: redis.Redis, bare_app: Celery, record: bytes) -> AsyncResult[Any]:
    store.set(keys.record("id"), record)
    return AsyncResult("id", app=bare_app)


def test_a_bare_celery_app_reads_jobs_on_their_way(store: redis.Redis, bare_app: Celery) -> None:
    result = result_of(store, bare_app, records.queued(Job("id", "adding", 1.0)))
    assert (result.status, result.ready()) == ("QUEUED", False)
    record = records.started(Job("id", "adding", 1.0), 2.0, attempts=1, worker="w@1")
    result = result_of(store, bare_app, record)
    assert (result.status, result.ready(), result.info) == ("STARTED", False, {"hostname": "w@1"})


def test_a_bare_celery_app_reads_an_outcome(store: redis.Redis, bare_app: Celery) -> None:
    outcome = {"endpoint_name": "adding", "attempts": 1, "prediction": [1, {"é": None}]}
    record = records.succeeded(Job("id", "adding", 1.0, attempts=1), json.dumps(outcome).encode(), 2.0, 86_400.5)
    result = result_of(store, bare_app, record)
    assert (result.status, result.get(timeout=5)) == ("SUCCESS", outcome)
    assert result.date_done is not None
    assert result.date_done.isoformat() == "1970-01-02T00:00:00.500000+00:00"
    assert list(result.children or []) == []


@pytest.mark.parametrize("kind", the_classes(), ids=lambda kind: kind.__name__)
def test_celery_raises_the_class_that_a_job_failed_with(
    store: redis.Redis, bare_app: Celery, kind: type[JobFailed]
) -> None:
    # Celery looks among what the program has imported.
    assert vars(queuecast.errors)[kind.__name__] is kind
    error = kind("it's “broken”\n")
    result = result_of(store, bare_app, records.failed(Job("id", "adding", 1.0), error, 2.0))
    assert result.status == "FAILURE"
    with pytest.raises(kind) as caught:
        result.get(timeout=5)
    assert type(caught.value) is kind
    assert str(caught.value) == str(error)


def test_celery_finds_the_traceback_of_the_models_code(store: redis.Redis, bare_app: Celery) -> None:
    said = 'Traceback (most recent call last):\n  File "model.py", line 3, in predict\nValueError: too red'
    error = errors.PredictionFailed("ValueError: too red")
    result = result_of(store, bare_app, records.failed(Job("id", "adding", 1.0), error, 2.0, traceback=said))
    assert result.traceback == said
    with pytest.raises(errors.PredictionFailed, match="too red"):
        result.get(timeout=5)


@pytest.mark.parametrize("reason", [records.CANCELLED, records.EXPIRED])
def test_celery_raises_its_own_class_for_what_was_taken_back(store: redis.Redis, bare_app: Celery, reason: str) -> None:
    result = result_of(store, bare_app, records.revoked(Job("id", "adding", 1.0), reason, 2.0))
    assert (result.status, result.ready(), result.failed()) == ("REVOKED", True, False)
    with pytest.raises(TaskRevokedError, match=reason):
        result.get(timeout=5)


@pytest.mark.slow
def test_a_program_without_our_code_gets_a_class_of_the_same_name(store: redis.Redis, redis_url: str) -> None:
    store.set(keys.record("id"), records.failed(Job("id", "adding", 1.0), errors.HostDied("it died"), 2.0))
    program = f"""
from celery import Celery
app = Celery(backend={redis_url!r})
try:
    app.AsyncResult("id").get(timeout=5)
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd="/", capture_output=True, text=True, timeout=60, check=True
    )  # fmt: skip
    assert done.stdout == "HostDied it died\n"


def test_errors_of_the_package_have_codes_of_their_own() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, WorkerError)]
    codes = [each.code for each in kinds]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("status", sorted(records.TERMINAL))
def test_an_end_is_known_by_its_first_bytes_with_and_without_a_space(status: str) -> None:
    assert records.is_terminal(f'{{"status": "{status}", "result": null}}'.encode())
    assert records.is_terminal(f'{{"status":"{status}","result":null}}'.encode())
    assert not records.is_terminal(f'{{"status": "{status}ES"}}'.encode())
