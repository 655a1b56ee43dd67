"""How many jobs wait and for how long."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
import redis

from tests.support.service.environment import forget_cached_settings
from tests.workers.conftest import WithRedis, submit, submit_ids
from workers import keys
from workers.broker import backlogs, rabbitmq
from workers.broker.backlogs import Backlog
from workers.engine.intake.leases import Leases
from workers.keys import SUBMITTED_AT_HEADER
from workers.queues.naming import queue_name


def test_the_backlog_is_what_nobody_has_fetched(store: redis.Redis, with_redis: WithRedis) -> None:
    submit_ids(5)
    submit("other")
    with_redis(lambda client: Leases(client, 20).fetch({"adding": 2}))
    found = backlogs.read(["adding", "other", "nobody"])
    assert [found[name].depth for name in ("adding", "other", "nobody")] == [3, 1, 0]
    assert found["nobody"].oldest_age_s is None


def test_the_age_is_that_of_the_oldest_job(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    first = submit().submitted_at
    submit()
    monkeypatch.setattr(time, "time", lambda: first + 7.25)
    assert backlogs.read(["adding"])["adding"].oldest_age_s == 7.25
    monkeypatch.setattr(time, "time", lambda: first - 5)  # the submitter's clock is ahead
    assert backlogs.read(["adding"])["adding"].oldest_age_s == 0


@pytest.mark.parametrize(
    "message",
    [
        "",
        "no message",
        f'"{SUBMITTED_AT_HEADER}": .',
        f'"{SUBMITTED_AT_HEADER}": 1.2.3',
        f'"{SUBMITTED_AT_HEADER}": "1"',
    ],
)
def test_what_is_no_message_has_no_age(store: redis.Redis, message: str) -> None:
    store.lpush(queue_name("adding"), message)
    assert backlogs.read(["adding"]) == {"adding": Backlog(1, None)}


def test_a_time_in_an_input_is_not_taken_for_the_jobs_own(store: redis.Redis) -> None:
    # What is shown of an input stands in the message too, with its quotes escaped.
    submit(row={SUBMITTED_AT_HEADER: 5})
    submit(row=json.dumps({SUBMITTED_AT_HEADER: 5}))
    age_s = backlogs.read(["adding"])["adding"].oldest_age_s
    assert age_s is not None
    assert age_s < 3_600


def test_nothing_is_asked_for_no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlogs, "queue_client", None)
    assert backlogs.read([]) == {}


@pytest.fixture
def on_rabbitmq(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Depths as RabbitMQ would tell them; records are in Redis."""
    depths: dict[str, int] = {}
    monkeypatch.setattr(rabbitmq, "depths", lambda queues: {queue: depths.get(queue, 0) for queue in queues})
    monkeypatch.setattr(rabbitmq, "publish", lambda *_, **__: None)
    monkeypatch.setenv("QUEUECAST_BROKER_URL", "amqp://127.0.0.1:1//")
    forget_cached_settings()
    yield depths
    monkeypatch.undo()
    forget_cached_settings()


def test_with_rabbitmq_the_age_is_that_of_the_oldest_job_without_a_lease(
    store: redis.Redis, on_rabbitmq: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = submit(), submit()
    on_rabbitmq[queue_name("adding")] = 1
    store.zadd(keys.LEASES, {first.job_id: 1.0})
    # By Redis's clock, which is later than the submit's by what that takes.
    accepted_at = float(store.zscore(keys.unfinished("adding"), second.job_id) or 0)
    monkeypatch.setattr(time, "time", lambda: accepted_at + 4)
    found = backlogs.read(["adding", "nobody"])
    assert found["adding"].depth == 1
    assert found["adding"].oldest_age_s == pytest.approx(4, abs=0.001)
    assert found["nobody"] == Backlog(0, None)
