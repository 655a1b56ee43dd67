"""A Celery worker outlives its Redis while it holds messages that it has not acknowledged."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta

import redis

from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.queues.naming import CONTROL_QUEUE, DELIVER_TASK, WEBHOOKS_QUEUE

#: A task of Celery's own, which is in every worker.
_OF_EVERY_WORKER = "celery.backend_cleanup"
#: kombu's hash of delivered messages without an acknowledgement.
_UNACKED = "unacked"
#: Its sorted set of when it delivered them.
_UNACKED_INDEX = "unacked_index"


def test_a_worker_and_a_background_process_outlive_their_redis_and_get_again_what_they_held(stack: Stack) -> None:
    children = [stack.start_worker(), stack.start_background()]
    due = datetime.now(UTC) + timedelta(hours=1)
    stack.celery.send_task(_OF_EVERY_WORKER, queue=CONTROL_QUEUE, eta=due)
    stack.celery.send_task(DELIVER_TASK, ["no-such-job"], queue=WEBHOOKS_QUEUE, eta=due)
    with redis.Redis.from_url(stack.redis.url) as store:
        eventually(lambda: store.hlen(_UNACKED) == 2, message="both messages are held")

        def held_since() -> dict[bytes, float]:
            return dict(store.zrange(_UNACKED_INDEX, 0, -1, withscores=True))

        def all_held_anew() -> bool:
            return all(held_since().get(tag, 0) > since for tag, since in before.items())

        for _ in range(2):
            before = held_since()
            stack.redis.stop()
            stack.redis.start()
            eventually(all_held_anew, 20, message="the messages are held anew")
        for child in children:
            assert child.running
            child.send(signal.SIGTERM)
        assert [child.wait() for child in children] == [0, 0]
        assert (store.llen(CONTROL_QUEUE), store.llen(WEBHOOKS_QUEUE), store.hlen(_UNACKED)) == (1, 1, 0)
