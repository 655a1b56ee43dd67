"""A job as the journal keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A job that has ended; times in seconds since the epoch."""

    job_id: str
    endpoint_name: str
    model_name: str
    version: str
    #: "succeeded" or "failed"; jobs that were cancelled or have expired are not in the journal.
    status: str
    #: The rows; excluded fields are hashes. Empty if the arguments of the job were wrong.
    inputs: list[Any]
    #: Whether they came as `inputs`.
    many: bool
    #: One for each row; None if the job has failed.
    predictions: list[Any] | None
    error_code: str | None
    #: None if the deployment excludes fields, because the text may repeat them.
    error_message: str | None
    submitted_at: float | None
    started_at: float | None
    finished_at: float
    queued_ms: float | None
    predict_ms: float | None
    total_ms: float | None
    #: Rows of the call of the model.
    batch_size: int | None
    attempts: int
    worker: str | None
    owner: str | None
    priority: str
    trace_id: str | None
    sticky_key: str | None
