"""A Celery program as others have them: `celery -A tests.support.canvas.stock worker`, with tasks of its own.

`predict` here is a stock task that answers as our toy model does, so that the same canvas can run on both.
"""

from __future__ import annotations

import json
import os
from typing import Any

import redis
from celery import Celery

from workers.errors import PredictionFailed
from workers.queues import arguments

URL = os.environ["QUEUECAST_REDIS_URL"]
app = Celery("somebody", broker=os.environ.get("QUEUECAST_BROKER_URL") or URL, backend=URL, set_as_current=False)
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_hijack_root_logger = False
#: The same program without a result backend: it sends tasks, and learns nothing of them.
silent_app = Celery("somebody", broker=app.conf.broker_url, set_as_current=False)
_store = redis.Redis.from_url(URL)
LOVED, NOT_LIKED = "+", "raise"


@app.task(name="stock.predict", typing=False)
def predict(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Answer as `Marks` does."""
    call = arguments.parse(args, kwargs)
    if NOT_LIKED in call.rows:
        where = f"inputs[{call.rows.index(NOT_LIKED)}]: " if call.many else ""
        raise PredictionFailed(f"{where}ValueError: this row is not liked")
    found = [f"{row}{LOVED}" for row in call.rows]
    said: dict[str, Any] = {"predictions": found} if call.many else {"prediction": found[0]}
    return said | dict.fromkeys(("model_name", "version", "worker"), "x") | {
        "endpoint_name": call.endpoint_name, "batch_size": 1, "timing": {}, "attempts": 1,
    }  # fmt: skip


def called(label: str, *args: Any) -> None:
    """Note with which arguments a callback ran."""
    _store.rpush(f"called:{label}", json.dumps(args))


@app.task(name="stock.note")
def note(*args: Any, label: str) -> list[Any]:
    """Note its arguments, and return them."""
    called(label, *args)
    return list(args)


@app.task(name="stock.failed")
def failed(task_id: str, *, label: str) -> None:
    """An errback: notes that it ran, with an id."""
    called(label, task_id)


@app.task(name="stock.shout")
def shout(value: Any) -> str:
    """Return a text in capitals, or the prediction of an outcome document."""
    return str(value["prediction"] if isinstance(value, dict) else value).upper()


@app.task(name="stock.broken")
def broken(*_: Any) -> None:
    """Raise."""
    raise ValueError("broken")
