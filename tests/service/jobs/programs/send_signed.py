"""Sends one job with Celery alone, signed with QUEUECAST_MESSAGE_KEY: what docs/guides/security.md shows."""

import hmac
import json
import os
import sys
from typing import Any

from celery import Celery
from celery.signals import before_task_publish
from kombu.serialization import dumps

key = os.environ["QUEUECAST_MESSAGE_KEY"]


@before_task_publish.connect
def sign(headers: dict[str, Any], body: Any, **_: Any) -> None:
    head = json.dumps([headers["id"], headers["eta"], headers["expires"], None], separators=(",", ":"))
    content = head + "\n" + dumps(body, serializer="json")[2]  # type: ignore[no-untyped-call]
    headers["queuecast_signature"] = hmac.digest(key.encode(), content.encode(), "sha256").hex()


url, endpoint, *level = sys.argv[1:]
app = Celery(broker=url, backend=url)
app.conf.task_default_queue = f"predict.{endpoint}"
job = app.send_task("predict", args=[endpoint, 2.5], queue=":".join([f"predict.{endpoint}", *level]))
print(job.get(timeout=30)["prediction"])
