"""The `predict` task, as other programs call it.

from workers.tasks import predict
predict.delay("classifier_prod", [0.5, 0.8, 0.2]).get(timeout=10)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from celery import Task, group
from celery.result import AsyncResult

from registry.names import could_exist
from workers.app import app
from workers.endpoints import names
from workers.errors import WorkerError
from workers.jobs import accept, bulk
from workers.jobs.job import JobOptions
from workers.queues import arguments
from workers.queues.naming import TASK_NAME, queue_name

_NOT_HERE = (
    "A prediction runs in a model host of a Queuecast worker, never in this process: send it with predict.delay(…). In "
    "tests without a worker, put a stub in the place of predict (queuecast docs celery#in-tests)."
)


class PredictTask(Task):  # type: ignore[misc, type-arg, unused-ignore]
    """Stores the job's record together with its message, so that an unknown id is unknown."""

    #: Celery asks for what happens to received messages here, in a worker process alone.
    Strategy = "workers.engine.celery.strategy:start"

    def signature(self, args: Any = None, *more: Any, **options: Any) -> Any:
        """Return a signature with the endpoint's queue, so that workers of other programs can send it too."""
        kwargs = options.get("kwargs") or (more[0] if more else None) or {}
        endpoint_name = kwargs.get("endpoint_name") or next(iter(args or ()), None)
        if isinstance(endpoint_name, str) and could_exist(endpoint_name):
            options.setdefault("queue", queue_name(endpoint_name))
        return super().signature(args, *more, **options)

    subtask = signature

    def map(self, it: Iterable[Any], **kwargs: Any) -> Any:
        """Return a group of one job for each input: `predict.map(inputs, endpoint_name="classifier")`."""
        return group([self.s(**kwargs, input=each) for each in it], app=self.app)

    def starmap(self, it: Iterable[Sequence[Any]], **kwargs: Any) -> Any:
        """Return a group of one job for each list of arguments: `predict.starmap([("classifier", 1), …])`."""
        return group([self.s(*each, **kwargs) for each in it], app=self.app)

    def chunks(self, it: Iterable[Sequence[Any]], n: int, **kwargs: Any) -> Any:
        """Return the group that `starmap` returns: workers make batches of jobs themselves, so there are no chunks.

        Raises:
            ValueError: `n` is less than one.
        """
        if n < 1:
            raise ValueError("chunks takes a number of calls in each chunk, which is at least 1")
        return self.starmap(it, **kwargs)

    def apply(self, *_args: Any, **_options: Any) -> Any:
        """Refuse to predict in this process."""
        raise WorkerError(_NOT_HERE)

    def apply_async(
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: str | None = None,
        *,
        must_exist: bool = True,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Submit one job; `options` are Celery's own. A `task_id` that was used before is that job again.

        With `must_exist=False` the job waits in its queue if nothing is deployed as its endpoint yet.

        `priority` is "high", "normal" or "low"; a number means what it means to Celery's broker, which on Redis
        can put jobs off (3 and more is low) and on RabbitMQ bring them forward (1 and more is high).
        `sticky_key` is a text: during a rollout, jobs with the same one are answered by the same version.
        `callback_url` is where the job's end will be told, as docs/guides/webhooks.md has it.

        Raises:
            JobArgumentsWrong: the arguments are not (endpoint_name, input) or inputs=[…], or an option is wrong.
            EndpointUnknown: nothing that takes jobs is deployed as this endpoint.
            TargetRefused: nothing can be told to `callback_url`.
            QueueFull: the endpoint has too many unfinished jobs.
            JobUnconfirmed: Redis or the broker was lost on the way; the job may be stored. With its `job_id` as
                `task_id`, the call can be made again: it is stored once.
            QueueUnavailable: Redis or the broker can't be reached; nothing was stored.
        """
        if self.app.conf.task_always_eager:
            raise WorkerError(f"task_always_eager is set. {_NOT_HERE}")
        own, args, kwargs = JobOptions.taken_from(options), tuple(args or ()), dict(kwargs or {})
        if must_exist:
            names.check(arguments.parse(args, kwargs).endpoint_name)
        accepted = accept.submit(args, kwargs, task_id=task_id, options=own, **options)
        result: AsyncResult[Any] = self.AsyncResult(accepted.job_id)
        return result

    def bulk(
        self,
        endpoint_name: str,
        inputs: Iterable[Any],
        *,
        must_exist: bool = True,
        **options: Any,
    ) -> list[AsyncResult[Any]]:
        """Submit one job for each input; their results come back in the same order.

        `options` are those of `apply_async`, for all jobs alike. All inputs are looked at before any is stored,
        and stored in chunks, each whole or not at all.

        Raises:
            JobArgumentsWrong: an input can't be said in JSON; nothing was stored.
            EndpointUnknown: nothing that takes jobs is deployed as this endpoint; nothing was stored.
            BulkTooLarge: there are more inputs than one call may have; nothing was stored.
            QueueFull: the endpoint has no room for all of them; nothing was stored.
            QueueUnavailable: Redis can't be reached; nothing was stored.
            BulkInterrupted: Redis or the broker was lost on the way; tells which jobs are stored.
        """
        if must_exist:
            names.check(endpoint_name)
        jobs = [bulk.NewJob({"input": each}) for each in inputs]
        job_ids = bulk.submit(endpoint_name, jobs, options=JobOptions.taken_from(options), **options)
        return [self.AsyncResult(job_id) for job_id in job_ids]


@app.task(name=TASK_NAME, base=PredictTask, acks_late=True, typing=False)  # type: ignore[untyped-decorator, unused-ignore]
def predict(*_args: Any, **_kwargs: Any) -> dict[str, Any]:
    """Predict (endpoint_name, input), or (endpoint_name, inputs=[…]); the result is the outcome document."""
    # Reached only by calling the function itself: in a worker the engine takes the messages.
    raise WorkerError(_NOT_HERE)
