"""The attributes of jobs and batches in spans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from workers.queues.priorities import Priority


class TracedJob(Protocol):
    """A job with spans; times in seconds since the epoch."""

    job_id: str
    submitted_at: float | None
    #: The trace headers of the sender's span.
    trace: dict[str, str] | None
    rows: list[Any]
    priority: Priority
    attempts: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The batch of some jobs (`started_at`: s since the epoch)."""

    endpoint_name: str
    model_name: str
    version: str
    worker: str
    started_at: float
