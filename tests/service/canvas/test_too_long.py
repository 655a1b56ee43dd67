"""A job of a bare program whose successors are too long fails, and so do they."""

from __future__ import annotations

import pytest
import redis
from celery import Celery

from queuecast import errors
from tests.support.models import Marks
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers.queues.naming import queue_name

NAME = "too-long"


def test_a_job_whose_successors_are_too_long_fails_and_so_do_they(service: Stack) -> None:
    service.register(NAME, Marks())
    service.deploy(NAME, endpoint_name=NAME)
    app = Celery("bare", broker=service.redis.url, backend=service.redis.url, set_as_current=False)
    after = app.signature("shop.price", args=["x" * 400_000], task_id="after", queue="shop.too_long")
    follows = {"chain": [after], "link_error": app.signature("shop.failed", queue="celery")}
    first = app.send_task("predict", args=[NAME, "a"], queue=queue_name(NAME), **follows)
    for each in (first, app.AsyncResult("after")):
        with pytest.raises(errors.SuccessorsTooLong, match="262,144"):
            each.get(timeout=30)
    assert service.job(str(first.id))["error"]["code"] == errors.SuccessorsTooLong.code
    with redis.Redis.from_url(service.redis.url) as store:
        eventually(lambda: store.llen("celery") == 1, 20, message="the errback is sent")
        assert not store.exists("shop.too_long")
