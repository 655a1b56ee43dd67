"""Priorities: what names and numbers mean, and that each way of submitting puts a job into its priority's queue."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery, group

from tests.support.service.environment import forget_cached_settings
from tests.workers.conftest import WithRedis, message_of, submit
from tests.workers.stand_ins import queued_job
from workers import keys, tasks
from workers.broker import backlogs, broker_client, rabbitmq
from workers.engine.intake.leases import Leases
from workers.engine.intake.messages import parse
from workers.errors import JobArgumentsWrong
from workers.jobs import bulk, dead_letters, query
from workers.jobs.accept import Idempotency, Limits
from workers.jobs.dead_letters import DeadLetter
from workers.jobs.job import JobOptions
from workers.queues import arguments, priorities
from workers.queues.naming import priority_of, queue_name
from workers.queues.priorities import Priority

HIGH, NORMAL, LOW = Priority


def waiting(store: redis.Redis) -> dict[str, int]:
    """How many jobs wait in each queue that has any."""
    return {priority.value: length for priority in Priority if (length := store.llen(queue_name("adding", priority)))}


def messages(store: redis.Redis, priority: Priority) -> list[bytes]:
    """The messages in the queue of a priority, the next one first."""
    return [each for each in store.lrange(queue_name("adding", priority), 0, -1)[::-1] if isinstance(each, bytes)]


@pytest.fixture
def on_rabbitmq(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Any]]]:
    """What would be published to RabbitMQ: queue and number."""
    published: list[tuple[str, Any]] = []
    monkeypatch.setattr(rabbitmq, "publish", lambda queue, _, **options: published.append((queue, options["priority"])))
    monkeypatch.setenv("QUEUECAST_BROKER_URL", "amqp://127.0.0.1:1//")
    forget_cached_settings()
    yield published
    monkeypatch.undo()
    forget_cached_settings()


@pytest.mark.parametrize(
    ("option", "on_redis", "on_amqp"),
    [
        *[(None, NORMAL, NORMAL), ("high", HIGH, HIGH), ("normal", NORMAL, NORMAL), ("low", LOW, LOW), (LOW, LOW, LOW)],
        *[(0, NORMAL, NORMAL), (2, NORMAL, HIGH), (3, LOW, HIGH), (9, LOW, HIGH), (255, LOW, HIGH)],
    ],
)
def test_a_name_means_the_same_on_both_brokers_and_a_number_what_it_means_there(
    option: Any, on_redis: Priority, on_amqp: Priority
) -> None:
    assert priorities.of_option(option, amqp=False) is on_redis
    assert priorities.of_option(option, amqp=True) is on_amqp


@pytest.mark.parametrize("option", ["urgent", "HIGH", "", -1, 256, 1.0, True, ["high"]])
def test_what_is_no_priority_is_refused_with_nothing_stored(store: redis.Redis, option: Any) -> None:
    with pytest.raises(JobArgumentsWrong, match="priority is high, normal, low, or a number"):
        tasks.predict.apply_async(("adding", 1), priority=option)
    with pytest.raises(JobArgumentsWrong, match="priority is high, normal, low, or a number"):
        tasks.predict.bulk("adding", [1], priority=option)
    assert store.keys() == []


@pytest.mark.parametrize("priority", Priority)
def test_a_job_waits_in_the_queue_of_its_level_and_its_message_says_so(store: redis.Redis, priority: Priority) -> None:
    result = tasks.predict.apply_async(("adding", 1), priority=priority.value)
    assert waiting(store) == {priority: 1}
    assert message_of(store, result.id).priority is priority
    [message] = messages(store, priority)
    assert parse("tag", "adding", message).priority is priority
    group(tasks.predict.s("adding", row).set(priority=priority.value) for row in (2, 3)).apply_async()
    assert waiting(store) == {priority: 3}
    query.submit("adding", {"input": 1}, limits=Limits(), options=JobOptions(priority=priority))
    assert waiting(store) == {priority: 4}


def test_a_number_travels_on_in_the_message(store: redis.Redis) -> None:
    job_id = submit(priority=7).job_id
    assert waiting(store) == {"low": 1}
    assert message_of(store, job_id).properties["priority"] == 7


def test_of_many_jobs_each_goes_to_the_queue_of_its_own_level_in_order(store: redis.Redis) -> None:
    priorities = [HIGH, None, LOW, HIGH, NORMAL, None, LOW]
    many = [bulk.NewJob({"input": number}, JobOptions(priority=priority)) for number, priority in enumerate(priorities)]
    ids = bulk.submit("adding", many, idempotency=Idempotency("key", b"many"), priority="low")
    assert bulk.submit("adding", many, idempotency=Idempotency("key", b"many"), priority="low") == ids
    assert waiting(store) == {"high": 2, "normal": 1, "low": 4}
    assert [arguments.values(parse("", "adding", each).rows) for each in messages(store, LOW)] == [[1], [2], [5], [6]]
    assert store.zcard(keys.unfinished("adding")) == 7
    tasks.predict.bulk("adding", [1, 2], priority="high")
    assert waiting(store) == {"high": 4, "normal": 1, "low": 4}


def test_on_rabbitmq_each_level_has_a_queue(store: redis.Redis, on_rabbitmq: list[tuple[str, Any]]) -> None:
    for option in ("high", None, "low", 4):
        submit(priority=option)
    numbers = {"predict.adding:high": [None, 4], "predict.adding": [None], "predict.adding:low": [None]}
    assert numbers == {queue: [number for each, number in on_rabbitmq if each == queue] for queue, _ in on_rabbitmq}


def test_many_jobs_are_sent_to_another_broker_by_their_priorities(
    store: redis.Redis, on_rabbitmq: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[str, int] = {}

    def send_many(queue: str, messages: list[bytes], taken: set[int]) -> None:
        sent[queue] = len(messages)
        taken.update(range(len(messages)))

    monkeypatch.setattr(broker_client, "send_many", send_many)
    priorities = [LOW, HIGH, None, LOW]
    bulk.submit("adding", [bulk.NewJob({"input": 1}, JobOptions(priority=priority)) for priority in priorities])
    assert sent == {"predict.adding:high": 1, "predict.adding": 1, "predict.adding:low": 2}


@pytest.mark.parametrize("priority", Priority)
def test_a_program_without_our_code_says_a_level_by_the_queue(
    store: redis.Redis, bare_app: Celery, priority: Priority
) -> None:
    bare_app.send_task("predict", args=["adding", 1], queue=queue_name("adding", priority))
    assert waiting(store) == {priority: 1}
    [message] = messages(store, priority)
    assert parse("tag", "adding", message).priority is priority
    # A number beside it neither loses the job nor changes its priority.
    bare_app.send_task("predict", args=["adding", 1], queue=queue_name("adding", HIGH), priority=9)
    assert backlogs.read(["adding"])["adding"].depth == 2


@pytest.mark.parametrize(("number", "priority"), [(0, NORMAL), (2, NORMAL), (3, LOW), (9, LOW)])
def test_a_number_of_a_program_without_our_code_is_mapped(
    store: redis.Redis, bare_app: Celery, with_redis: WithRedis, number: int, priority: Priority
) -> None:
    bare_app.send_task("predict", args=["adding", 1], queue=queue_name("adding"), priority=number)
    [leased] = with_redis(lambda client: Leases(client, 20).fetch({"adding": 5}))
    assert parse(leased.tag, "adding", leased.message).priority is priority


def test_the_backlog_counts_all_levels_and_its_age_is_that_of_the_oldest(
    store: redis.Redis, bare_app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = submit(priority="low").submitted_at
    for option in ("high", "normal", "normal"):
        submit(priority=option)
    bare_app.send_task("predict", args=["adding", 1], queue=queue_name("adding"), priority=6)
    monkeypatch.setattr(time, "time", lambda: first + 9)
    assert backlogs.read(["adding"])["adding"] == backlogs.Backlog(5, 9.0)


@pytest.mark.parametrize("priority", Priority)
def test_a_replayed_dead_letter_has_the_priority_that_it_had(
    store: redis.Redis, with_redis: WithRedis, priority: Priority
) -> None:
    job_id = submit(priority=priority).job_id
    [message] = messages(store, priority)
    letter = DeadLetter(job_id, "adding", message, (), 1.0, 2.0)
    store.flushdb()
    with_redis(lambda client: dead_letters.keep(client, [letter]))
    dead_letters.replay(job_id)
    assert waiting(store) == {priority: 1}


def test_no_endpoint_has_a_name_that_makes_its_queue_anothers() -> None:
    with pytest.raises(JobArgumentsWrong):
        tasks.predict.delay("adding:high", 1)
    assert priority_of(queue_name("low")) is priority_of(queue_name("a.high")) is NORMAL
    assert queued_job().priority is NORMAL
