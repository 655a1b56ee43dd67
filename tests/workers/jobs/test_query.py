"""Jobs as other programs see them: look, cancel, list."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import redis
from celery import Celery
from msgspec.structs import replace
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.service.environment import forget_cached_settings
from tests.workers.conftest import WithRedis, submit, submit_ids
from tests.workers.jobs.conftest import LoopDesk
from workers import keys
from workers.errors import JobNotCancellable, JobNotFound, JobUnreadable, QueueUnavailable
from workers.jobs import bulk, query, records, transitions
from workers.jobs.accept import Limits
from workers.jobs.job import Failure, Job
from workers.jobs.on_loop import lookups
from workers.jobs.query import ClippedRecord, JobState
from workers.jobs.transitions import Claim, Finish
from workers.measures import counters

#: Celery's backend uses what redis-py has a newer name for.
celery_writes = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


def start(with_redis: WithRedis, job_id: str, endpoint_name: str = "adding") -> None:
    now = time.time()
    record = records.started(Job(job_id, endpoint_name, now), now, attempts=1, worker="w")
    with_redis(lambda client: transitions.claim(client, endpoint_name, [Claim(job_id, record, now)]))


def test_a_submitted_job_can_be_looked_at_at_once(store: redis.Redis) -> None:
    job = query.submit("adding", {"inputs": [1, 2]}, Limits(expires_in_s=60))
    found = query.get(job.job_id)
    assert (found.state, found.endpoint_name, found.submitted_at) == (JobState.QUEUED, "adding", job.submitted_at)
    assert found.expires_at == pytest.approx((job.submitted_at or 0) + 60, abs=0.001)
    document = found.document()
    assert document["status"] == "queued"
    assert document["submitted_at"].endswith("+00:00")
    assert document["outcome"] is document["error"] is document["finished_at"] is None


def test_an_unknown_id_is_unknown(store: redis.Redis) -> None:
    with pytest.raises(JobNotFound, match="'nobody'"):
        query.get("nobody")
    with pytest.raises(JobNotFound):
        query.cancel("nobody")


def test_a_queued_job_is_cancelled_once(store: redis.Redis) -> None:
    job_id = submit().job_id
    cancelled = query.cancel(job_id)
    assert (cancelled.state, cancelled.finished_at is not None) == (JobState.CANCELLED, True)
    assert query.get(job_id) == cancelled
    with pytest.raises(JobNotCancellable, match="cancelled: it has ended") as caught:
        query.cancel(job_id, force=True)
    assert caught.value.state == "cancelled"


def test_a_running_job_is_cancelled_with_force_and_its_worker_hears_of_it(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    job_id = submit().job_id
    start(with_redis, job_id)
    with pytest.raises(JobNotCancellable, match="cancelled with force"):
        query.cancel(job_id)
    with store.pubsub(ignore_subscribe_messages=True) as heard:  # type: ignore[no-untyped-call]
        heard.subscribe(keys.CANCEL_CHANNEL)
        heard.get_message(timeout=5)
        query.cancel(job_id, force=True)
        message = heard.get_message(timeout=5)
    assert message is not None
    assert message["data"] == job_id.encode()
    assert query.get(job_id).state is JobState.CANCELLED


def test_recent_jobs_are_the_newest_of_all_endpoints_over_many_pages(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "_PAGE", 4)
    ids = [submit(("one", "two", "three")[number % 3]).job_id for number in range(30)]
    assert [job.job_id for job in query.recent(limit=100)] == ids[::-1]
    assert [job.job_id for job in query.recent(limit=7)] == ids[:-8:-1]
    assert [job.job_id for job in query.recent("two", limit=9)] == ids[1::3][:-10:-1]
    assert query.recent("nobody") == []


def test_recent_jobs_are_filtered_by_state_beyond_the_first_page(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "_PAGE", 4)
    ids = submit_ids(20)
    for job_id in ids[::5]:
        query.cancel(job_id)
    assert [job.job_id for job in query.recent(state=JobState.CANCELLED)] == ids[::5][::-1]
    assert len(query.recent(state=JobState.QUEUED, limit=100)) == 16
    assert query.recent(state=JobState.FAILED) == []


def test_recent_jobs_leave_out_those_whose_record_has_expired(store: redis.Redis) -> None:
    ids = submit_ids(5)
    store.delete(keys.record(ids[2]))
    assert [job.job_id for job in query.recent()] == [ids[4], ids[3], ids[1], ids[0]]


def succeed(with_redis: WithRedis, job_id: str, outcome: bytes, owner: str | None = None) -> None:
    now = time.time()
    failures = [Failure(attempt=1, worker="w", at=now, reason='"traceback":null, it says')]
    job = Job(job_id, "adding", now, attempts=2, failures=failures, owner=owner)
    record = records.succeeded(job, outcome, now, now)
    finishes = [Finish(job_id, record, counters.Kind.SUCCEEDED, 1.0)]
    with_redis(lambda client: transitions.finish(client, "adding", finishes, now, None))


def test_a_list_reads_no_long_outcomes(store: redis.Redis, with_redis: WithRedis) -> None:
    ids = submit_ids(12)
    for job_id in ids[1:]:
        succeed(with_redis, job_id, json.dumps({"traceback": "x" * 1_000_000}).encode(), owner="shop")
    succeed(with_redis, ids[0], b'{"prediction":5}')
    before = store.info("stats")["total_net_output_bytes"]
    *long, short = query.recent()
    assert store.info("stats")["total_net_output_bytes"] - before < 500_000
    assert (short.outcome, short.outcome_omitted) == ({"prediction": 5}, False)
    for listed in long:
        assert listed.outcome is None
        assert listed.document()["outcome_omitted"]
        whole = query.get(listed.job_id)
        assert replace(listed, outcome=whole.outcome, outcome_omitted=False) == whole


def test_a_client_reads_its_own_jobs_only(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = [submit(owner="shop").job_id for _ in range(3)]
    mine += bulk.submit("other", [bulk.NewJob({"input": 1})], owner="shop")
    submit_ids(20)
    assert [job.job_id for job in query.recent(owner="shop")] == mine[::-1]  # once it has looked through all
    read: list[str] = []
    read_clipped = query.read_clipped

    def recorded(names: list[str]) -> Any:
        read.extend(names)
        return read_clipped(names)

    monkeypatch.setattr(query, "read_clipped", recorded)
    assert [job.job_id for job in query.recent("adding", owner="shop")] == mine[2::-1]
    assert read == [keys.record(job_id) for job_id in mine[::-1]]


def test_what_a_client_submitted_by_way_of_an_earlier_release_is_listed_too(store: redis.Redis) -> None:
    early = submit(owner="shop").job_id
    store.delete(keys.jobs_of("shop"))
    late = submit(owner="shop").job_id
    assert [job.job_id for job in query.recent(owner="shop")] == [late, early]


def test_the_list_of_a_client_is_as_bounded_as_that_of_an_endpoint(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUECAST_RECENT_JOBS", "3")
    forget_cached_settings()
    ids = [submit(owner="shop").job_id for _ in range(5)]
    ids += bulk.submit("adding", [bulk.NewJob({"input": 1}), bulk.NewJob({"input": 2})], owner="shop")
    monkeypatch.undo()
    forget_cached_settings()
    assert store.zrange(keys.jobs_of("shop"), 0, -1) == [each.encode() for each in ids[-3:]]
    assert store.ttl(keys.jobs_of("shop")) > 24 * 3600


@pytest.mark.parametrize(
    "record",
    [b"", b"{", b"[]", b'{"status": "SUCCESS"}', b'{"status": "QUEUED", "submitted_at": "soon"}', b"x" * 20_000,
     b'{"status": "QUEUED", "failures": [1]}', b'{"status": "QUEUED", "expires_at": 1e300}'],
)  # fmt: skip
def test_one_record_that_cannot_be_read_is_shown_as_such_among_the_others(
    store: redis.Redis, loop_desk: LoopDesk, record: bytes
) -> None:
    good, bad, worse = submit_ids(3)
    store.set(keys.record(bad), record or b" ")
    store.delete(keys.record(worse))
    store.rpush(keys.record(worse), "a list")
    shown = [(job.job_id, job.state) for job in query.recent()]
    assert shown == [(worse, JobState.UNREADABLE), (bad, JobState.UNREADABLE), (good, JobState.QUEUED)]
    assert query.shown(bad, record).document()["status"] == "unreadable"
    found = loop_desk.look_up([good, bad, worse])
    assert [job.state for job in found.jobs] == [JobState.QUEUED, JobState.UNREADABLE, JobState.UNREADABLE]


@pytest.mark.parametrize("is_text", [True, False])
def test_a_record_that_cannot_be_read_is_shown_to_its_owner_and_no_other(
    store: redis.Redis, loop_desk: LoopDesk, is_text: bool
) -> None:
    job_id = submit(owner="shop").job_id
    store.delete(keys.record(job_id))
    if is_text:
        store.set(keys.record(job_id), b"{")
    else:
        store.rpush(keys.record(job_id), "a list")
    for owner, error in (("shop", JobUnreadable), (None, JobUnreadable), ("other", JobNotFound)):
        with pytest.raises(error):
            query.get(job_id, owner)
        with pytest.raises(error):
            loop_desk.wait(job_id, 1, owner)
        known = loop_desk.look_up([job_id], owner).jobs
        assert [job.state for job in known] == ([] if error is JobNotFound else [JobState.UNREADABLE])


def test_a_look_up_reads_no_more_than_its_answer_may_have(
    store: redis.Redis, with_redis: WithRedis, loop_desk: LoopDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = submit_ids(6)
    for job_id in ids:
        succeed(with_redis, job_id, json.dumps("x" * 100_000).encode())
    monkeypatch.setattr(lookups, "MAX_BYTES", 250_000)
    before = store.info("stats")["total_net_output_bytes"]
    found = loop_desk.look_up(["nobody", *ids])
    assert store.info("stats")["total_net_output_bytes"] - before < 350_000
    assert [job.job_id for job in found.jobs] + found.left_job_ids == ids
    assert (found.unknown_job_ids, len(found.jobs)) == (["nobody"], 3)


def test_a_job_is_listed_once_although_others_are_submitted_meanwhile(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "_PAGE", 4)
    ids = submit_ids(12)
    read_clipped = query.read_clipped

    def read_while_submitting(record_keys: list[str]) -> list[ClippedRecord | None]:
        submit_ids(3)
        return read_clipped(record_keys)

    monkeypatch.setattr(query, "read_clipped", read_while_submitting)
    assert [job.job_id for job in query.recent("adding", limit=12)] == ids[::-1]


def test_without_redis_every_look_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = redis.Redis(port=1, retry=Retry(NoBackoff(), 0))
    monkeypatch.setattr(query, "records_client", lambda: nowhere)
    monkeypatch.setattr(transitions, "records_client", lambda: nowhere)
    for look in (lambda: query.get("any"), lambda: query.cancel("any"), query.recent):
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
    job = query.get("theirs")
    assert job.state is state
    assert (job.outcome is not None) == (state is JobState.SUCCEEDED)
    document = job.document()
    assert (document["attempts"], document["failures"], document["submitted_at"]) == (0, [], None)
    if state is JobState.FAILED:
        assert document["error"] == {"code": "job_failed", "type": "ValueError", "message": "no, 5"}


@pytest.mark.parametrize("result", [None, "text", {"exc_type": "Boom"}, {"exc_message": "one"}, [1]])
def test_a_failure_that_says_little_is_still_a_failed_job(result: Any) -> None:
    job = query.parse("theirs", json.dumps({"status": "FAILURE", "result": result}).encode())
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert all(isinstance(value, str) for value in job.error.values())


@celery_writes
def test_a_task_that_celery_revoked_is_a_cancelled_job(store: redis.Redis, bare_app: Celery) -> None:
    bare_app.backend.mark_as_revoked("theirs", "revoked", store_result=True)
    assert query.get("theirs").state is JobState.CANCELLED
    with pytest.raises(JobNotCancellable):
        query.cancel("theirs", force=True)


@celery_writes
def test_celerys_own_scripts_and_ours_see_the_same_states(store: redis.Redis, bare_app: Celery) -> None:
    # The scripts look at the first bytes alone, and Celery has to begin its records as ours begin.
    bare_app.backend.store_result("theirs", {"prediction": 5}, "SUCCESS")
    record = store.get(keys.record("theirs"))
    assert isinstance(record, bytes)
    assert records.is_terminal(record)
    assert transitions.withdraw(Job("theirs", "adding", None), b"{}", force=True) == "SUCCESS"
