"""The outbox: a job's webhook is stored in the step that ends the job, however it ends."""

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
from workers import keys, tasks
from workers.engine.intake.leases import Leases
from workers.engine.placement.placement import Placement
from workers.engine.reconciler import Reconciler
from workers.engine.upkeep.releasing import Release
from workers.engine.upkeep.sweeper import Sweeper
from workers.errors import DeliveryNotFound, PredictionFailed, TargetRefused
from workers.jobs import bulk, query, records, transitions
from workers.jobs.accept import Idempotency
from workers.jobs.endings import outbox
from workers.jobs.job import Job, JobOptions
from workers.jobs.transitions import Finish
from workers.measures import counters, positions
from workers.queues.priorities import Priority
from workers.settings import load
from workers.webhooks import store as deliveries
from workers.webhooks.store import DeliveryStatus

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
            record, kind = records.failed(Job(job_id, NAME, now, owner=owner), PredictionFailed("no"), now), "failed"
        else:
            job = Job(job_id, NAME, now, owner=owner, priority=priority, attempts=1)
            record, kind = records.succeeded(job, b'{"owner":"x"}', now, now), "succeeded"
        finishes.append(Finish(job_id, record, counters.Kind(kind), 1.0, owner))
    with_redis(lambda client: transitions.finish(client, NAME, finishes, now, None))


def cancel(_with_redis: WithRedis, job_id: str) -> None:
    query.cancel(job_id)


def expire(with_redis: WithRedis, job_id: str) -> None:
    class Source:
        """An empty queue."""

        async def oldest_at(self, _name: str) -> float | None:
            return None

        async def is_queued(self, *_: object) -> bool:
            return False

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
    assert query.get(job_id).state == state
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
    transitions.forget_queued(job_id, NAME)
    assert not store.exists(keys.CALLBACKS)


async def write_callbacks(desired: list[DesiredDeployment], client: AsyncRedis) -> None:
    release = Release(client, Leases(client, 20.0), beside_records=True)
    engine = context(client)
    await Reconciler(engine, release, {}, list, Placement(engine, {}))._write_callbacks(desired)


def test_a_deployments_callback_is_for_jobs_without_one_of_their_own(store: redis.Redis, with_redis: WithRedis) -> None:
    for wanted in ("https://deployment.example.com/", None):
        desired = [deployment(NAME, callback_url=wanted), deployment("other")]
        with_redis(partial(write_callbacks, desired))
        ids = [submit().job_id, submit(callback_url=URL).job_id]
        finish(with_redis, *ids)
        assert deliveries.get(ids[1]).url == URL
        if wanted:
            assert deliveries.get(ids[0]).url == wanted
        else:
            with pytest.raises(DeliveryNotFound):
                deliveries.get(ids[0])


def test_a_client_sees_what_its_jobs_asked_for_and_not_the_deployments_receiver(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    with_redis(partial(write_callbacks, [deployment(NAME, callback_url="https://deployment.example.com/")]))
    own, deployments = submit(callback_url=URL, owner="shop").job_id, submit(owner="shop").job_id
    finish(with_redis, own, deployments, owner="shop")
    assert [each.job_id for each in deliveries.newest(owner="shop")] == [own]
    assert deliveries.get(own, "shop").url == URL
    with pytest.raises(DeliveryNotFound):
        deliveries.get(deployments, "shop")
    with pytest.raises(DeliveryNotFound):
        deliveries.get(own, "desk")
    assert set(pending()) == {own, deployments}


def test_many_jobs_have_one_callback_or_each_its_own(store: redis.Redis, with_redis: WithRedis) -> None:
    own = JobOptions(callback_url="http://one.internal:8080/")
    rows = [bulk.NewJob({"input": 1}), bulk.NewJob({"input": 2}, own)]
    ids = bulk.submit(NAME, rows, options=JobOptions(callback_url=URL))
    more = [result.id for result in tasks.predict.bulk(NAME, [1, 2, 3], callback_url=URL)]
    plain = bulk.submit(NAME, [bulk.NewJob({"input": 1})])
    finish(with_redis, *ids, *more, *plain)
    found = [deliveries.get(job_id).url for job_id in [*ids, *more]]
    assert found == [URL, "http://one.internal:8080/", URL, URL, URL]
    assert len(pending()) == 5


def test_jobs_have_callbacks_and_priorities_at_once(store: redis.Redis, with_redis: WithRedis) -> None:
    options = [JobOptions(priority=each, callback_url=f"https://{each}.example.com/") for each in Priority]
    ids = bulk.submit(NAME, [bulk.NewJob({"input": 1}, each) for each in options])
    single = submit(priority=Priority.LOW, callback_url=URL).job_id
    assert [positions.read(NAME, [job_id])[job_id].priority for job_id in [*ids, single]] == [*Priority, Priority.LOW]
    finish(with_redis, *ids, single)
    assert not store.exists(keys.prioritized(NAME), keys.CALLBACKS)
    told = [deliveries.get(job_id).url for job_id in [*ids, single]]
    assert told == [*(f"https://{each}.example.com/" for each in Priority), URL]


def test_a_repeated_bulk_call_asks_for_no_callback_of_a_job_that_has_ended(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    once, options = Idempotency("key", b"request"), JobOptions(callback_url=URL)
    ids = bulk.submit(NAME, [bulk.NewJob({"input": 1})], idempotency=once, options=options)
    finish(with_redis, *ids)
    assert bulk.submit(NAME, [bulk.NewJob({"input": 1})], idempotency=once, options=options) == ids
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


def test_the_list_of_a_client_reads_its_own_deliveries_alone(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "_PAGE_LENGTH", 2)
    mine = []
    for owner in ("them", "me", "them", "me", "me", "them"):
        job_id = submit(callback_url=URL, owner=owner).job_id
        finish(with_redis, job_id, owner=owner)
        mine += [job_id] if owner == "me" else []
    assert [each.job_id for each in deliveries.newest(owner="me")] == mine[::-1]  # once it has looked through all
    read: list[tuple[str, int]] = []
    read_fields = deliveries._read

    def recorded(job_ids: list[str], fields: list[str]) -> Any:
        read.extend((job_id, len(fields)) for job_id in job_ids)
        return read_fields(job_ids, fields)

    monkeypatch.setattr(deliveries, "_read", recorded)
    assert [each.job_id for each in deliveries.newest(NAME, limit=1, owner="me")] == mine[:1:-1]
    few, all_of = len(deliveries._HEAD), len(deliveries._FIELDS)
    assert read == [(mine[2], few), (mine[1], few), (mine[2], all_of)]
    assert deliveries.newest("other", owner="me") == deliveries.newest(status=DeliveryStatus.FAILED, owner="me") == []


def test_deliveries_that_processes_of_an_earlier_release_noted_are_listed_too(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    early = submit(callback_url=URL, owner="me").job_id
    finish(with_redis, early, owner="me")
    store.delete(keys.webhooks_of("me"))
    late = submit(callback_url=URL, owner="me").job_id
    finish(with_redis, late, owner="me")
    assert [each.job_id for each in deliveries.newest(owner="me")] == [late, early]
    assert 0 < store.ttl(keys.webhooks_of_complete("me")) <= 600


def test_the_list_of_a_client_forgets_what_is_gone(store: redis.Redis, with_redis: WithRedis) -> None:
    gone, kept = (submit(callback_url=URL, owner="me").job_id for _ in range(2))
    finish(with_redis, gone, kept, owner="me")
    store.delete(keys.delivery(gone))
    assert [each.job_id for each in deliveries.newest(owner="me")] == [kept]
    assert store.zrange(keys.webhooks_of("me"), 0, -1) == [kept.encode()]


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
