"""Deliveries: one attempt at a time, each once, until the receiver accepts it or the retries end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from tests.support.servers.webhook_receiver import WebhookReceiver
from tests.support.service.environment import forget_cached_settings
from tests.support.service.ports import free_port
from tests.support.waiting import eventually
from tests.workers.conftest import WithRedis, submit
from workers import keys
from workers.background import app as background
from workers.errors import DeliveryNotFound
from workers.jobs import query, records, transitions
from workers.jobs.job import Job
from workers.jobs.transitions import Finish
from workers.measures import counters
from workers.queues.naming import WEBHOOKS_QUEUE
from workers.webhooks import delivery, http
from workers.webhooks import store as deliveries
from workers.webhooks.delivery import deliver
from workers.webhooks.store import Delivery, DeliveryStatus

NAME = "adding"


def ended(with_redis: WithRedis, url: str, count: int = 1, prediction: Any = 3) -> list[str]:
    """Submit jobs with a callback, and let them succeed."""
    ids, now = [submit(callback_url=url).job_id for _ in range(count)], time.time()
    outcome = json.dumps({"prediction": prediction}).encode()
    finishes = [
        Finish(each, records.succeeded(Job(each, NAME, now), outcome, now, now), counters.Kind.SUCCEEDED, 1.0)
        for each in ids
    ]
    with_redis(lambda client: transitions.finish(client, NAME, finishes, now, None))
    return ids


def taken_and_delivered() -> list[str]:
    taken = deliveries.lease_due()
    for job_id in taken:
        deliver(job_id)
    return taken


def until(job_id: str, status: DeliveryStatus) -> Delivery:
    def reached() -> Delivery | None:
        taken_and_delivered()
        found = deliveries.get(job_id)
        return found if found.status is status else None

    found = eventually(reached)
    assert found is not None
    return found


def test_what_is_told_is_the_job_as_get_shows_it(receiver: WebhookReceiver, with_redis: WithRedis) -> None:
    [job_id] = ended(with_redis, receiver.url)
    found = until(job_id, DeliveryStatus.DELIVERED)
    [told] = receiver.got
    job = query.get(job_id).document()
    assert told == {"type": "job.succeeded", "timestamp": job["finished_at"], "data": json.loads(json.dumps(job))}
    [attempt] = found.attempts
    assert (attempt["status_code"], attempt["error"], attempt["answer"]) == (204, None, "")
    assert found.document(with_answers=True)["callback_url"].endswith("/hook?…")
    assert deliveries.lease_due() == []
    assert deliveries.figures() == deliveries.Figures(1, 0, 0, 0, 0.0)


def test_ends_are_told_while_redis_is_full(
    receiver: WebhookReceiver, with_redis: WithRedis, fill: Callable[[], None]
) -> None:
    receiver.answer = lambda number: (500 if number == 0 else 204, {})
    [job_id] = ended(with_redis, receiver.url)
    fill()
    assert len(until(job_id, DeliveryStatus.DELIVERED).attempts) == 2
    assert receiver.jobs == [job_id]


def test_an_end_is_told_without_a_task_where_a_full_redis_takes_none(
    receiver: WebhookReceiver, with_redis: WithRedis, fill: Callable[[], None], store: redis.Redis
) -> None:
    first, second = ended(with_redis, receiver.url, 2)
    assert set(deliveries.lease_due()) == {first, second}
    background.send(first)
    assert store.llen(WEBHOOKS_QUEUE) == 1
    assert receiver.jobs == []
    fill()
    background.send(second)
    assert receiver.jobs == [second]


def test_a_large_outcome_is_left_out_and_where_it_is_said() -> None:
    outcome = json.dumps({"prediction": "x" * 100_000}).encode()
    record = records.succeeded(Job("j", NAME, 1.0, attempts=1), outcome, 2.0, 3.0)
    body = delivery.build_body("j", record)
    data = json.loads(body)["data"]
    assert len(body) < 1_000
    assert (data["outcome"], data["outcome_omitted"], data["url"]) == (None, True, "/jobs/j")


def test_a_failing_receiver_is_tried_again_under_the_same_id_until_it_takes_it(
    receiver: WebhookReceiver, with_redis: WithRedis
) -> None:
    receiver.answer = lambda number: (500 if number < 2 else 200, {})
    [job_id] = ended(with_redis, receiver.url)
    found = until(job_id, DeliveryStatus.DELIVERED)
    assert [each["status_code"] for each in found.attempts] == [500, 500, 200]
    assert receiver.ids == [f"msg_{job_id}"] * 3
    assert len(receiver.got) == 1


def test_after_the_last_retry_it_is_given_up_and_can_be_sent_again(
    receiver: WebhookReceiver, with_redis: WithRedis, store: redis.Redis
) -> None:
    receiver.answer = lambda _number: (500, {})
    [job_id] = ended(with_redis, receiver.url)
    found = until(job_id, DeliveryStatus.FAILED)
    assert len(found.attempts) == 4
    assert store.ttl(keys.delivery(job_id)) > 0
    assert deliveries.newest(status=DeliveryStatus.FAILED) == [found]
    assert deliveries.figures() == deliveries.Figures(0, 1, 4, 0, 0.0)

    receiver.answer = lambda _number: (200, {})
    again = deliveries.redeliver(job_id)
    shown = again.document(with_answers=True)
    assert (again.status, shown["next_attempt_at"] is None) == (DeliveryStatus.PENDING, False)
    assert store.ttl(keys.delivery(job_id)) == -1
    found = until(job_id, DeliveryStatus.DELIVERED)
    assert len(found.attempts) == 5
    assert set(receiver.ids) == {f"msg_{job_id}"}


@pytest.mark.parametrize(
    ("status", "headers", "after", "longest_s"),
    [
        (410, {}, DeliveryStatus.FAILED, 0),
        (302, {"Location": "http://127.0.0.1/"}, DeliveryStatus.PENDING, 1),
        (503, {"Retry-After": "1000"}, DeliveryStatus.PENDING, 1_300),
        (429, {"Retry-After": "10000000"}, DeliveryStatus.PENDING, 110_000),
        (500, {"Retry-After": "1000"}, DeliveryStatus.PENDING, 1),
    ],
)
def test_what_an_answer_means(
    receiver: WebhookReceiver,
    with_redis: WithRedis,
    status: int,
    headers: Mapping[str, str],
    after: DeliveryStatus,
    longest_s: float,
) -> None:
    receiver.answer = lambda _number: (status, headers)
    [job_id] = ended(with_redis, receiver.url)
    taken_and_delivered()
    found = deliveries.get(job_id)
    assert found.status is after
    if after is DeliveryStatus.PENDING:
        wait_s = found.due_at - time.time()
        wanted_s = min(float(headers.get("Retry-After", 0)), 86_400) if status in (429, 503) else 0
        assert wanted_s - 10 <= wait_s <= longest_s


def test_a_refused_target_is_given_up_at_once(receiver: WebhookReceiver, with_redis: WithRedis) -> None:
    [job_id] = ended(with_redis, "https://hooks.example.com/")
    taken_and_delivered()
    found = deliveries.get(job_id)
    assert found.status is DeliveryStatus.FAILED
    assert "QUEUECAST_WEBHOOK_HOSTS" in str(found.attempts[0]["error"])


def test_an_unreachable_target_is_tried_again(receiver: WebhookReceiver, with_redis: WithRedis) -> None:
    [job_id] = ended(with_redis, f"http://127.0.0.1:{free_port()}/")
    taken_and_delivered()
    found = deliveries.get(job_id)
    assert (found.status, found.attempts[0]["status_code"]) == (DeliveryStatus.PENDING, None)
    assert "refuses connections" in str(found.attempts[0]["error"])


def test_an_error_of_the_process_itself_counts_as_an_attempt(
    receiver: WebhookReceiver, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(http, "post", broken)
    [job_id] = ended(with_redis, receiver.url)
    found = until(job_id, DeliveryStatus.FAILED)
    assert len(found.attempts) == 4


def test_a_message_that_comes_twice_or_late_sends_nothing_twice(
    receiver: WebhookReceiver, with_redis: WithRedis
) -> None:
    [job_id] = ended(with_redis, receiver.url)
    deliver(job_id)
    assert not receiver.ids  # it isn't taken yet
    assert deliveries.lease_due() == [job_id]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(deliver, [job_id] * 16))
    deliver(job_id)
    deliver("unknown")
    assert len(receiver.ids) == 1


def test_an_attempt_that_was_lost_is_made_again_when_its_time_is_over(
    receiver: WebhookReceiver, with_redis: WithRedis, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "LEASE_S", 0.05)
    [job_id] = ended(with_redis, receiver.url)
    assert deliveries.lease_due() == [job_id]  # and the task's message is lost
    assert deliveries.lease_due() == []
    monkeypatch.setattr(deliveries, "ATTEMPT_SLACK_S", -4.95)  # of the time limit of 5 s
    monkeypatch.setattr(deliveries, "LEASE_S", 60)
    assert eventually(deliveries.lease_due) == [job_id]
    lost = deliveries.begin_attempt(job_id)  # and its process is killed
    assert lost is not None
    assert deliveries.begin_attempt(job_id) is None
    until(job_id, DeliveryStatus.DELIVERED)
    assert not deliveries.end_attempt(lost, delivery._attempt(lost))
    assert len(deliveries.get(job_id).attempts) == 1


def test_messages_that_waited_too_long_take_no_more_than_the_receivers_share(
    receiver: WebhookReceiver, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, late = ended(with_redis, receiver.url, 6), list[str]()

    def all_taken() -> bool:
        late.extend(deliveries.lease_due())
        return set(late) == set(ids)

    monkeypatch.setattr(deliveries, "LEASE_S", 0.01)
    eventually(all_taken)  # while a queue is behind: these messages are still on their way
    monkeypatch.setattr(deliveries, "LEASE_S", 60)
    taken = eventually(deliveries.lease_due)
    begun = [each for each in map(deliveries.begin_attempt, late) if each is not None]
    assert {each.job_id for each in begun} == set(taken)
    assert len(begun) == deliveries.LEASES_PER_RECEIVER


def test_what_is_not_to_be_told_to_a_receiver_any_more_is_dropped(
    receiver: WebhookReceiver, with_redis: WithRedis, store: redis.Redis
) -> None:
    lost, moved, told = (ended(with_redis, receiver.url)[0] for _ in range(3))
    store.delete(keys.delivery(lost))
    store.hset(keys.delivery(moved), "receiver", "other.example.com")
    store.hset(keys.delivery(told), "status", DeliveryStatus.DELIVERED)
    store.hset(keys.WEBHOOKS_FAILING, f"127.0.0.1:{receiver.port}", 1)
    for _ in range(3):  # one after the other: the receiver was failing
        assert deliveries.lease_due() == []
    assert not store.exists(keys.webhooks_due(f"127.0.0.1:{receiver.port}"), keys.WEBHOOKS_FAILING)
    assert set(store.zrange(keys.WEBHOOKS_PENDING, 0, -1)) == {moved.encode(), told.encode()}


def test_a_record_of_which_nothing_can_be_made_is_not_told_as_nothing(
    receiver: WebhookReceiver, with_redis: WithRedis, store: redis.Redis
) -> None:
    [job_id] = ended(with_redis, receiver.url)
    store.hset(keys.delivery(job_id), "record", "{}")
    found = until(job_id, DeliveryStatus.FAILED)
    assert {each["error"] for each in found.attempts} == {delivery._INTERNAL_ERROR}
    assert not receiver.ids
    # As after an upgrade of the background process, which knows what is meant.
    store.hset(keys.delivery(job_id), "record", store.get(keys.record(job_id)) or b"")
    deliveries.redeliver(job_id)
    until(job_id, DeliveryStatus.DELIVERED)
    assert receiver.jobs == [job_id]


def test_one_receiver_has_its_share_and_a_failing_one_a_single_attempt_at_once(
    receiver: WebhookReceiver, with_redis: WithRedis, store: redis.Redis
) -> None:
    first = ended(with_redis, f"http://127.0.0.1:{free_port()}/", 10)
    other = ended(with_redis, receiver.url, 2)
    taken = deliveries.lease_due()
    assert len([each for each in taken if each in first]) == deliveries.LEASES_PER_RECEIVER
    assert set(other) <= set(taken)
    for job_id in taken:
        deliver(job_id)
    assert set(receiver.jobs) == set(other)
    assert len(deliveries.lease_due()) == 1  # nobody answered there
    assert deliveries.figures().overdue_s > 0


def test_a_receiver_that_is_back_has_its_share_again(receiver: WebhookReceiver, with_redis: WithRedis) -> None:
    receiver.answer = lambda number: (500 if number == 0 else 200, {})
    ended(with_redis, receiver.url)
    taken_and_delivered()
    ended(with_redis, receiver.url, 9)
    [probe] = deliveries.lease_due()
    deliver(probe)
    taken = deliveries.lease_due()
    assert len(taken) == deliveries.LEASES_PER_RECEIVER
    for job_id in taken:
        deliver(job_id)
    eventually(lambda: not taken_and_delivered() and len(receiver.jobs) == 10)


def test_what_became_of_deliveries_is_kept_for_so_many(
    receiver: WebhookReceiver, with_redis: WithRedis, store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUECAST_WEBHOOK_LOG_LENGTH", "3")
    forget_cached_settings()
    ids = []
    for _ in range(5):
        ids += ended(with_redis, receiver.url)
        taken_and_delivered()
    assert [each.job_id for each in deliveries.newest()] == ids[:1:-1]
    for job_id in ids[:2]:
        with pytest.raises(DeliveryNotFound):
            deliveries.get(job_id)
        with pytest.raises(DeliveryNotFound):
            deliveries.redeliver(job_id)


def test_deliveries_are_listed_newest_first_and_page_by_page(
    receiver: WebhookReceiver, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "_PAGE_LENGTH", 2)
    monkeypatch.setattr(deliveries, "LEASES_PER_RECEIVER", 1)
    ids = [ended(with_redis, receiver.url)[0] for _ in range(5)]
    assert taken_and_delivered() == ids[:1]
    assert [each.job_id for each in deliveries.newest(limit=3)] == [ids[0], ids[4], ids[3]]
    assert [each.job_id for each in deliveries.newest(NAME)] == [ids[0], *ids[:0:-1]]
    assert deliveries.newest("other") == []


def test_an_id_that_fits_in_no_header_has_another_for_receivers() -> None:
    assert deliveries.message_id("a-b_c") == "msg_a-b_c"
    assert deliveries.message_id("a.b/ç") != deliveries.message_id("a.b/d")
    assert len(deliveries.message_id("x" * 255)) < 128
