"""Where the floor's jobs and answers are."""

from __future__ import annotations

ANSWER_TTL_S = 86_400


def queue(batch: int, model_name: str) -> str:
    """Return the list of a model's jobs, for the worker that takes so many at once."""
    return f"floor:{batch}:{model_name}"


def answer(job_id: str) -> str:
    """Return the key of a job's answer."""
    return f"floor:answer:{job_id}"
