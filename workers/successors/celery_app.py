"""The Celery app that sends successors: jobs of ours by `submission`, tasks of other programs by Celery's producer.

Celery's own code runs the canvas on it. It calls `send_task` for each task, because no task but Celery's own is
registered here, and `store_result` for each task that fails without having run.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from celery import Celery, states
from celery.result import AsyncResult
from msgspec import Raw

from workers import app as workers_app
from workers.errors import JOB_ERRORS_MODULE, JobFailed, WorkerError
from workers.jobs import query, transitions
from workers.platform import fast_json
from workers.platform.celery.results import Loader
from workers.platform.ids import new_id
from workers.queues.naming import CONTROL_QUEUE, TASK_NAME, queue_name
from workers.settings import load
from workers.successors import submission

_log = logging.getLogger(__name__)
#: Tasks of this service itself are sent by it alone.
_OWN_TASKS = "queuecast."
#: So are its queues, the queues and exchanges of Celery's remote control and events, and what else is in Redis: a queue
#: is a list there, and could have the name of any key.
_OWN = re.compile(
    rf"{CONTROL_QUEUE}(?![\w-])|{re.escape(queue_name(''))}|celery-task|celeryev|_kombu|unacked|.*\bcelery\.pidbox|.*[\x00-\x1f]",
    re.DOTALL,
)

#: The job whose successors are being published, and its owner.
_ended: ContextVar[tuple[str, str | None]] = ContextVar("ended")


@contextmanager
def following(job_id: str, owner: str | None) -> Iterator[None]:
    """Send what follows this job within the block; jobs of ours belong to its owner."""
    token = _ended.set((job_id, owner))
    try:
        yield
    finally:
        _ended.reset(token)


class SuccessorsApp(Celery):  # type: ignore[misc, unused-ignore]
    """See the module."""

    def send_task(  # type: ignore[override, unused-ignore]
        self, name: str, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any
    ) -> AsyncResult[Any]:
        """Submit a job of ours, or send another program's task to its queue, with the options of `apply_async`."""
        task_id = task_id or new_id()
        if name == TASK_NAME:
            _, owner = _ended.get()
            submission.submit(task_id, args or (), kwargs or {}, owner, options)
        elif may_be_sent(name, options):
            super().send_task(name, args, kwargs, task_id=task_id, **options)
        else:
            why = f"Workers may not send the task {name!r} to this queue (QUEUECAST_SUCCESSOR_QUEUES)."
            _log.error("task %s, which follows job %s, fails: %s", task_id, _ended.get()[0], why)
            self.backend.store_result(task_id, WorkerError(why), states.FAILURE)
        result: AsyncResult[Any] = self.AsyncResult(task_id)
        return result

    def _get_backend(self) -> Any:
        backend = super()._get_backend()
        backend.store_result = partial(_store_result, backend.store_result)
        # Nothing here waits for results: subscriptions to them would fill a connection that nobody reads.
        backend.on_task_call = lambda _producer, _task_id: {}
        return backend


def may_be_sent(name: str, options: dict[str, Any]) -> bool:
    """Whether a task of another program may be sent by a worker: not to the queues that are the service's own.

    Who may write messages for prediction queues alone could otherwise have any message written.
    """
    if name.startswith(_OWN_TASKS):
        return False
    named = [options.get(each) for each in ("queue", "routing_key", "exchange")]
    return all(map(_is_allowed, (each for each in named if each is not None and each != "")))


def _is_allowed(where: Any) -> bool:
    """Whether a queue, a routing key or an exchange is one for tasks of other programs."""
    if not isinstance(where, str) or _OWN.match(where):
        return False
    return any(fnmatchcase(where, each) for each in load().successor_queue_patterns)


def _store_result(  # noqa: PLR0913, PLR0917 - Celery's arguments
    store: Any, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **more: Any
) -> Any:
    """Store the failure of a task that never ran; that of the ended job itself is stored already."""
    ended_id, owner = _ended.get()
    if task_id == ended_id:
        return result
    if getattr(request, "task", None) != TASK_NAME:
        if _is_job(task_id):
            # A signature may name any id, and must not end anybody's job so.
            _log.error("task %s, which follows job %s, has failed, and there is a job of this id", task_id, ended_id)
            return result
        return store(task_id, result, state, traceback=traceback, request=request, **more)
    error = JobFailed(f"The task before it, {ended_id}, has failed: {result}")
    name, is_ours = type(result).__name__, isinstance(result, JobFailed)
    module = JOB_ERRORS_MODULE if is_ours else type(result).__module__
    said = {"exc_type": name, "exc_message": [str(each) for each in result.args], "exc_module": module}
    raised = Raw(fast_json.dumps_finite(said))
    endpoint_name = submission.endpoint_of(request.args, request.kwargs)
    transitions.end_unborn(task_id, endpoint_name, owner, error, raised=raised)
    return result


def _is_job(task_id: str) -> bool:
    record = transitions.read_one(task_id)
    found = None if record is None else query.parse_if_readable(task_id, record)
    return found is not None and found.endpoint_name != ""


def _configuration() -> dict[str, Any]:
    return {
        **workers_app.configuration(),
        "imports": [],
        "task_routes": None,
        "task_default_queue": load().successor_queue,
    }


def make() -> SuccessorsApp:
    """Return the app, without the task of this service, which programs that import it register in all apps."""
    app = SuccessorsApp("queuecast-successors", set_as_current=False, loader=Loader)
    app.add_defaults(_configuration)
    app.finalize()
    app.tasks.pop(TASK_NAME, None)
    return app
