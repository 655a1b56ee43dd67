"""Jobs as other programs see them: look, cancel, list."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import redis
from celery import Celery
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.workers.conftest import WithRedis, submit, submit_ids
from workers import documents, jobs, keys, records
from workers.engine import outcomes
from workers.engine.outcomes import Claim
from workers.errors import JobNotCancellable, JobNotFound, QueueUnavailable
from workers.jobs import JobState
from workers.submission import Limits

#: Celery's backend uses what redis-py has a newer name for.
celery_writes = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


def start(with_redis: WithRedis, job_id: str, endpoint_name: str = "adding") -> None:
    now = time.time()
    record = documents.started(job_id, endpoint_name, now, now, worker="w", attempts=1)
    with_redis(lambda client: outcomes.claim(client, endpoint_name, [Claim(job_id, record, now)]))


def test_a_submitted_job_can_be_looked_at_at_once(store: redis.Redis) -> None:
    job = jobs.submit("adding", {"inputs": [1, 2]}, Limits(expires_in_s=60))
    found = jobs.get(job.job_id)
    assert (found.state, found.endpoint_name, found.submitted_at) == (JobState.QUEUED, "adding", job.submitted_at)
    assert found.expires_at == pytest.approx((job.submitted_at or 0) + 60, abs=0.001)
    document = found.document()
    assert document["status"] == "queued"
    assert document["submitted_at"].endswith("+00:00")
    assert document["outcome"] is document["error"] is document["finished_at"] is None


def test_an_unknown_id_is_unknown(store: redis.Redis) -> None:
    with pytest.raises(JobNotFound, match="'nobody'"):
        jobs.get("nobody")
    with pytest.raises(JobNotFound):
        jobs.cancel("nobody")


def test_a_queued_job_is_cancelled_once(store: redis.Redis) -> None:
    job_id = submit().job_id
    cancelled = jobs.cancel(job_id)
    assert (cancelled.state, cancelled.finished_at is not None) == (JobState.CANCELLED, True)
    assert jobs.get(job_id) == cancelled
    with pytest.raises(JobNotCancellable, match="cancelled: it has ended") as caught:
        jobs.cancel(job_id, force=True)
    assert caught.value.state == "cancelled"


def test_a_running_job_is_cancelled_with_force_and_its_worker_hears_of_it(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    job_id = submit().job_id
    start(with_redis, job_id)
    with pytest.raises(JobNotCancellable, match="cancelled with force"):
        jobs.cancel(job_id)
    with store.pubsub(ignore_subscribe_messages=True) as heard:  # type: ignore[no-untyped-call]
        heard.subscribe(keys.CANCEL_CHANNEL)
        heard.get_message(timeout=5)
        jobs.cancel(job_id, force=True)
        message = heard.get_message(timeout=5)
    assert message is not None
    assert message["data"] == job_id.encode()
    assert jobs.get(job_id).state is JobState.CANCELLED


def test_recent_jobs_are_the_newest_of_all_endpoints_over_many_pages(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_PAGE", 4)
    ids = [submit(("one", "two", "three")[number % 3]).job_id for number in range(30)]
    assert [job.job_id for job in jobs.recent(limit=100)] == ids[::-1]
    assert [job.job_id for job in jobs.recent(limit=7)] == ids[:-8:-1]
    assert [job.job_id for job in jobs.recent("two", limit=9)] == ids[1::3][:-10:-1]
    assert jobs.recent("nobody") == []


def test_recent_jobs_are_filtered_by_state_beyond_the_first_page(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_PAGE", 4)
    ids = submit_ids(20)
    for job_id in ids[::5]:
        jobs.cancel(job_id)
    assert [job.job_id for job in jobs.recent(state=JobState.CANCELLED)] == ids[::5][::-1]
    assert len(jobs.recent(state=JobState.QUEUED, limit=100)) == 16
    assert jobs.recent(state=JobState.FAILED) == []


def test_recent_jobs_leave_out_those_whose_record_has_expired(store: redis.Redis) -> None:
    ids = submit_ids(5)
    store.delete(keys.record(ids[2]))
    assert [job.job_id for job in jobs.recent()] == [ids[4], ids[3], ids[1], ids[0]]


def test_a_job_is_listed_once_although_others_are_submitted_meanwhile(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_PAGE", 4)
    ids = submit_ids(12)
    read = records.read

    def read_while_submitting(job_ids: list[str]) -> list[bytes | None]:
        submit_ids(3)
        return read(job_ids)

    monkeypatch.setattr(records, "read", read_while_submitting)
    assert [job.job_id for job in jobs.recent("adding", limit=12)] == ids[::-1]


def test_without_redis_every_look_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = redis.Redis(port=1, retry=Retry(NoBackoff(), 0))
    monkeypatch.setattr(jobs, "records_client", lambda: nowhere)
    monkeypatch.setattr(records, "records_client", lambda: nowhere)
    for look in (lambda: jobs.get("any"), lambda: jobs.cancel("any"), jobs.recent):
        with pytest.raises(QueueUnavailable, match="can't be reached"):
            look()


@celery_writes
@pytest.mark.parametrize(
    ("result", "state", "celery_state"),
    [
        ({"prediction": 5}, JobState.SUCCEEDED, "SUCCESS"),
        (ValueError("no", 5), JobState.FAILED, "FAILURE"),
        (None, JobState.QUEUED, "PENDING"),
        (None, JobState.QUEUED, "RECEIVED"),
        ({"hostname": "w"}, JobState.RUNNING, "STARTED"),
        (ValueError("again"), JobState.RUNNING, "RETRY"),
        ({"done": 0.5}, JobState.RUNNING, "HALFWAY"),
    ],
)
def test_records_that_celerys_own_backend_wrote_are_jobs(
    store: redis.Redis, bare_app: Celery, result: Any, state: JobState, celery_state: str
) -> None:
    bare_app.backend.store_result("theirs", result, celery_state)
    job = jobs.get("theirs")
    assert job.state is state
    assert (job.outcome is not None) == (state is JobState.SUCCEEDED)
    document = job.document()
    assert (document["attempts"], document["failures"], document["submitted_at"]) == (0, [], None)
    if state is JobState.FAILED:
        assert document["error"] == {"code": "job_failed", "type": "ValueError", "message": "no, 5"}


@pytest.mark.parametrize("result", [None, "text", {"exc_type": "Boom"}, {"exc_message": "one"}, [1]])
def test_a_failure_that_says_little_is_still_a_failed_job(result: Any) -> None:
    job = jobs.parse("theirs", json.dumps({"status": "FAILURE", "result": result}).encode())
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert all(isinstance(value, str) for value in job.error.values())


@celery_writes
def test_a_task_that_celery_revoked_is_a_cancelled_job(store: redis.Redis, bare_app: Celery) -> None:
    bare_app.backend.mark_as_revoked("theirs", "revoked", store_result=True)
    assert jobs.get("theirs").state is JobState.CANCELLED
    with pytest.raises(JobNotCancellable):
        jobs.cancel("theirs", force=True)


@celery_writes
def test_celerys_own_scripts_and_ours_see_the_same_states(store: redis.Redis, bare_app: Celery) -> None:
    # The scripts look at the first bytes alone, and Celery has to begin its records as ours begin.
    bare_app.backend.store_result("theirs", {"prediction": 5}, "SUCCESS")
    record = store.get(keys.record("theirs"))
    assert isinstance(record, bytes)
    assert documents.is_terminal(record)
    assert records.withdraw("theirs", "adding", b"{}", force=True) == "SUCCESS"
