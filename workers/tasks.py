"""The `predict` task, as other programs call it.

from workers.tasks import predict
predict.delay("classifier_prod", [0.5, 0.8, 0.2]).get(timeout=10)
"""

from __future__ import annotations

import reprlib
import time
from typing import Any

from celery import Task
from celery.result import AsyncResult
from celery.utils import uuid

from workers import arguments, records
from workers.app import app
from workers.errors import WorkerError
from workers.keys import SUBMITTED_AT_HEADER
from workers.queues import TASK_NAME
from workers.redis_client import translated_errors

_repr = reprlib.Repr()
_repr.maxlist = _repr.maxtuple = _repr.maxdict = 20
_repr.maxstring = _repr.maxother = 100
_ARGSREPR_LIMIT = 500


def short_repr(value: object) -> str:
    """A bounded text of arguments: what Flower shows of them."""
    return _repr.repr(value)[:_ARGSREPR_LIMIT]


class PredictTask(Task):  # type: ignore[misc, type-arg, unused-ignore]
    """Writes the job's record before its message is sent, so that an unknown id is unknown."""

    #: Celery asks for what happens to received messages here, in a worker process alone.
    Strategy = "workers.engine.strategy:start"

    def apply_async(
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: str | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Submit one job; `options` are Celery's own.

        Raises:
            JobArgumentsWrong: the arguments are not (endpoint_name, input) or inputs=[…].
            QueueUnavailable: Redis or the broker can't be reached; nothing was stored.
        """
        args, kwargs = tuple(args or ()), dict(kwargs or {})
        endpoint_name = arguments.parse(args, kwargs).endpoint_name
        job_id, submitted_at = task_id or uuid(), time.time()
        options.setdefault("argsrepr", short_repr(args))
        options.setdefault("kwargsrepr", short_repr(kwargs) if kwargs else "{}")
        options["headers"] = {**(options.get("headers") or {}), SUBMITTED_AT_HEADER: submitted_at}
        with translated_errors():
            records.write_queued(job_id, endpoint_name, submitted_at)
            try:
                return super().apply_async(args, kwargs, task_id=job_id, **options)
            except Exception:
                records.forget_queued(job_id, endpoint_name)
                raise


@app.task(name=TASK_NAME, base=PredictTask, acks_late=True, typing=False)  # type: ignore[untyped-decorator, unused-ignore]
def predict(*_args: Any, **_kwargs: Any) -> dict[str, Any]:
    """Predict (endpoint_name, input), or (endpoint_name, inputs=[…]); the result is the outcome document."""
    # Reached only by calling the function itself: in a worker the engine takes the messages.
    raise WorkerError("Send predict jobs with predict.delay(…); a Queuecast worker runs them.")
