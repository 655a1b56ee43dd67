"""What a pipeline is: its plan, which processes work on, and its record, which everybody reads as that of a job.

The plan is deleted once the pipeline has ended and nothing of it runs any more. Each change of a plan and the record
beside it is one step that refuses if another process was faster (`lua/change.lua`), so that any process may work on any
pipeline at any time. The ids of all steps are known from the beginning: a step that is submitted twice is one job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from workers.jobs import records
from workers.jobs.endings import successors
from workers.jobs.endings.successors import PlanUnreadable
from workers.jobs.job import Job
from workers.platform import fast_json
from workers.platform.ids import step_id
from workers.queues.priorities import Priority

#: Most steps of a pipeline.
MOST_STEPS = 20
#: The state of a step that is not submitted yet; otherwise it has that of a job.
WAITING = "waiting"
#: The state of a step that will never be submitted, as the pipeline has ended before.
SKIPPED = "skipped"


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step: a job at an endpoint; times in seconds since the epoch."""

    endpoint_name: str
    job_id: str
    status: str = WAITING
    started_at: float | None = None
    finished_at: float | None = None


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """An unfinished pipeline."""

    pipeline_id: str
    submitted_at: float
    steps: tuple[Step, ...]
    #: Which of the steps is the present one, from 0.
    present: int = 0
    #: Whether the present step was accepted as a job.
    is_submitted: bool = False
    #: Whether the pipeline's own record says that it runs.
    is_running: bool = False
    #: Of the step that is submitted first, until it is.
    rows: dict[str, Any] | None = None
    #: None for a pipeline that does not expire.
    expires_at: float | None = None
    owner: str | None = None
    priority: Priority = Priority.NORMAL
    sticky_key: str | None = None
    #: When a step began to wait for room in its queue; None if it doesn't.
    waits_since: float | None = None

    @property
    def step(self) -> Step:
        """The present step."""
        return self.steps[self.present]

    @property
    def is_last(self) -> bool:
        """Whether the present step is the last one."""
        return self.present == len(self.steps) - 1

    @property
    def job(self) -> Job:
        """The pipeline as the job that others see; it has the endpoint of its first step."""
        return Job(
            self.pipeline_id,
            self.steps[0].endpoint_name,
            self.submitted_at,
            self.expires_at,
            owner=self.owner,
            priority=self.priority,
            sticky_key=self.sticky_key,
        )

    def with_step(self, **changes: Any) -> Plan:
        """Return the plan with a changed present step."""
        steps = list(self.steps)
        steps[self.present] = replace(self.step, **changes)
        return replace(self, steps=tuple(steps))

    def stored(self) -> bytes:
        """Return the plan as Redis keeps it: a line with the signature, as its steps are submitted by who reads it."""
        said = msgspec.to_builtins(replace(self, rows=None))
        text = fast_json.dumps_celery({**said, "rows": self.rows})
        return successors.signature(self.pipeline_id, text.decode()).encode() + b"\n" + text

    def record(self) -> bytes:
        """Return the record while the pipeline is queued, or runs."""
        if not self.is_running:
            return with_steps(records.queued(self.job), self.steps)
        record = records.started(self.job, self.started_at or self.submitted_at, attempts=0, worker="")
        if self.expires_at is not None:  # as a running job doesn't expire, its record doesn't say when
            record = record[:-1] + b', "expires_at": ' + fast_json.dumps_finite(self.expires_at) + b"}"
        return with_steps(record, self.steps)

    @property
    def started_at(self) -> float | None:
        """When its first step began that is known to have begun."""
        return next((each.started_at for each in self.steps if each.started_at is not None), None)


def read_plan(pipeline_id: str, stored: bytes) -> Plan:
    """Return the stored plan of a pipeline.

    Raises:
        PlanUnreadable: it can't be read, or is not signed with a known key although messages must be.
    """
    try:
        signed, text = stored.decode().split("\n", 1)
        successors.check(signed, pipeline_id, text)
        return msgspec.convert(fast_json.loads(text), Plan)
    except (msgspec.ValidationError, ValueError) as error:
        raise PlanUnreadable(str(error)) from error


def with_steps(record: bytes, steps: Sequence[Step]) -> bytes:
    """Return the record of a pipeline, which says its steps after all that other records say."""
    return record[:-1] + b', "steps": ' + msgspec.json.encode(steps) + b"}"


def new_steps(pipeline_id: str, endpoint_names: Sequence[str], before: Sequence[Step] = ()) -> tuple[Step, ...]:
    """Return the steps of a new pipeline; those `before` have succeeded in another one."""
    names = endpoint_names[len(before) :]
    numbers = range(len(before) + 1, len(endpoint_names) + 1)
    return (*before, *(Step(name, step_id(pipeline_id, n)) for n, name in zip(numbers, names, strict=True)))


def skipped(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps of a pipeline that ends now: those that wait will not run."""
    return tuple(replace(each, status=SKIPPED) if each.status == WAITING else each for each in steps)


def rows_of(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return the input of the step after one with this outcome: what it has predicted."""
    return {"inputs": outcome["predictions"]} if "predictions" in outcome else {"input": outcome["prediction"]}


def steps_of(found: Any) -> tuple[Step, ...]:
    """Return the steps that a record says; none for what another program has written there."""
    try:
        return msgspec.convert(found or (), tuple[Step, ...])
    except msgspec.ValidationError:
        return ()
