"""The outbox: what is to be told stands there as soon as the job has ended, however it ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import redis
from redis.asyncio import Redis as AsyncRedis

from registry.deployments import DesiredDeployment
from tests.workers.conftest import WithRedis, submit
from tests.workers.stand_ins import context, deployment
from workers import bulk, documents, jobs, keys, places, records, statistics, tasks
from workers.engine import outcomes
from workers.engine.outcomes import Finish
from workers.engine.reconciler import Reconciler
from workers.engine.sweeper import Sweeper
from workers.errors import DeliveryNotFound, PredictionFailed, TargetRefused
from workers.priorities import Priority
from workers.settings import load
from workers.submission import Idempotency
from workers.webhooks import deliveries, outbox
from workers.webhooks.deliveries import DeliveryStatus

NAME = "adding"
URL = "https://hooks.example.com/hook?token=secret"


def finish(
    with_redis: WithRedis,
    *job_ids: str,
    failed: bool = False,
    owner: str | None = None,
    priority: Priority = Priority.NORMAL,
) -> None:
    now = time.time()
    finishes = []
    for job_id in job_ids:
        if failed:
            record, kind = documents.failed(job_id, NAME, PredictionFailed("no"), now, now, owner=owner), "failed"
        else:
            about = job_id, NAME, b'{"owner":"x"}', now, now, now
            record, kind = documents.succeeded(*about, owner=owner, priority=priority), "succeeded"
        finishes.append(Finish(job_id, record, statistics.Kind(kind), 1.0))
    with_redis(lambda client: outcomes.finish(client, NAME, finishes, now, None))


def cancel(_with_redis: WithRedis, job_id: str) -> None:
    jobs.cancel(job_id)


def expire(with_redis: WithRedis, job_id: str) -> None:
    class Source:
        """An empty queue."""

        async def oldest_at(self, _name: str) -> float | None:
            return None

        async def without_lease(self, _job_ids: object) -> list[str]:
            return []

        async def send(self, *_: object) -> None:
            raise AssertionError("nothing is lost")

    with_redis(lambda client: Sweeper(client, Source(), load()).sweep())


ENDS: dict[str, Callable[[WithRedis, str], None]] = {
    "succeeded": finish,
    "failed": lambda with_redis, job_id: finish(with_redis, job_id, failed=True),
    "cancelled": cancel,
    "expired": expire,
}


def pending() -> list[str]:
    return [each.job_id for each in deliveries.newest(status=DeliveryStatus.PENDING)]


@pytest.mark.parametrize("state", ENDS)
def test_every_way_to_end_is_to_be_told_once(store: redis.Redis, with_redis: WithRedis, state: str) -> None:
    options: dict[str, Any] = {"expires": 0.001} if state == "expired" else {}
    job_id = submit(callback_url=URL, **options).job_id
    with pytest.raises(DeliveryNotFound):
        deliveries.get(job_id)
    time.sleep(0.002)
    ENDS[state](with_redis, job_id)
    assert jobs.get(job_id).state == state
    for other in ("succeeded", "failed"):  # which come too late
        ENDS[other](with_redis, job_id)
    found = deliveries.get(job_id)
    assert (found.url, found.endpoint_name, found.status) == (URL, NAME, DeliveryStatus.PENDING)
    assert store.hget(keys.delivery(job_id), "record") == store.get(keys.record(job_id))
    assert store.zrange(keys.webhooks_due("hooks.example.com"), 0, -1) == [job_id.encode()]
    assert pending() == [job_id]
    assert not store.exists(keys.CALLBACKS)


def test_nothing_is_noted_of_jobs_that_asked_for_nothing(store: redis.Redis, with_redis: WithRedis) -> None:
    quiet, telling = submit().job_id, submit(callback_url=URL).job_id
    finish(with_redis, quiet, telling)
    assert pending() == [telling]


def test_a_job_that_could_not_be_sent_is_forgotten_with_its_callback(store: redis.Redis) -> None:
    job_id = submit(callback_url=URL).job_id
    records.forget_queued(job_id, NAME)
    assert not store.exists(keys.CALLBACKS)


async def tell_callbacks(desired: list[DesiredDeployment], client: AsyncRedis) -> None:
    await Reconciler(context(client), {}, list)._tell_callbacks(desired)


def test_a_deployments_callback_is_for_jobs_without_one_of_their_own(store: redis.Redis, with_redis: WithRedis) -> None:
    for wanted in ("https://deployment.example.com/", None):
        desired = [deployment(NAME, callback_url=wanted), deployment("other")]
        with_redis(partial(tell_callbacks, desired))
        ids = [submit().job_id, submit(callback_url=URL).job_id]
        finish(with_redis, *ids)
        assert deliveries.get(ids[1]).url == URL
        if wanted:
            assert deliveries.get(ids[0]).url == wanted
        else:
            with pytest.raises(DeliveryNotFound):
                deliveries.get(ids[0])


def test_many_jobs_have_one_callback_or_each_its_own(store: redis.Redis, with_redis: WithRedis) -> None:
    rows = [bulk.Job({"input": 1}), bulk.Job({"input": 2}, callback_url="http://one.internal:8080/")]
    ids = bulk.submit(NAME, rows, callback_url=URL)
    more = [result.id for result in tasks.predict.bulk(NAME, [1, 2, 3], callback_url=URL)]
    plain = bulk.submit(NAME, [bulk.Job({"input": 1})])
    finish(with_redis, *ids, *more, *plain)
    found = [deliveries.get(job_id).url for job_id in [*ids, *more]]
    assert found == [URL, "http://one.internal:8080/", URL, URL, URL]
    assert len(pending()) == 5


def test_jobs_have_callbacks_and_priorities_at_once(store: redis.Redis, with_redis: WithRedis) -> None:
    rows = [bulk.Job({"input": 1}, priority=each, callback_url=f"https://{each}.example.com/") for each in Priority]
    ids = bulk.submit(NAME, rows)
    single = submit(priority=Priority.LOW, callback_url=URL).job_id
    assert [places.read(NAME, [job_id])[job_id].level for job_id in [*ids, single]] == [*Priority, Priority.LOW]
    finish(with_redis, *ids, single)
    assert not store.exists(keys.levels(NAME), keys.CALLBACKS)
    told = [deliveries.get(job_id).url for job_id in [*ids, single]]
    assert told == [*(f"https://{each}.example.com/" for each in Priority), URL]


def test_a_repeated_bulk_call_asks_for_no_callback_of_a_job_that_has_ended(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    once = Idempotency("key", b"request")
    ids = bulk.submit(NAME, [bulk.Job({"input": 1})], idempotency=once, callback_url=URL)
    finish(with_redis, *ids)
    assert bulk.submit(NAME, [bulk.Job({"input": 1})], idempotency=once, callback_url=URL) == ids
    assert not store.exists(keys.CALLBACKS)


@pytest.mark.parametrize(
    "url", ["", "hooks.example.com", "ftp://hooks.example.com", "http://", "http://x/ y", "http://é/"]
)
def test_what_is_no_url_is_refused_before_there_is_a_job(store: redis.Redis, url: str) -> None:
    with pytest.raises(TargetRefused):
        submit(callback_url=url)
    with pytest.raises(TargetRefused):
        tasks.predict.bulk(NAME, [1], callback_url=url)
    assert store.keys("*") == []


@pytest.mark.parametrize("priority", Priority)
def test_a_delivery_knows_whose_job_it_is(store: redis.Redis, with_redis: WithRedis, priority: Priority) -> None:
    mine, theirs, nobodys = (submit(callback_url=URL).job_id for _ in range(3))
    finish(with_redis, mine, owner="me", priority=priority)
    finish(with_redis, theirs, owner="them", priority=priority)
    finish(with_redis, nobodys, priority=priority)
    assert deliveries.get(nobodys).owner is None
    assert [each.job_id for each in deliveries.newest(owner="me")] == [mine]
    assert deliveries.get(mine, "me").owner == "me"
    with pytest.raises(DeliveryNotFound):
        deliveries.get(theirs, "me")


def test_tokens_in_a_url_are_not_shown(store: redis.Redis) -> None:
    assert outbox.without_secrets(URL) == "https://hooks.example.com/hook?…"
    assert outbox.without_secrets("https://hooks.example.com/hook") == "https://hooks.example.com/hook"
