"""The name of a deployment's queue and of the task: computed here and stored nowhere."""

from __future__ import annotations

#: The one task of this service; part of the contract with other Celery programs.
TASK_NAME = "predict"
#: Celery's own default queue; nothing of ours is sent there.
CONTROL_QUEUE = "queuecast"
_PREFIX = "predict."


def queue_name(endpoint_name: str) -> str:
    """Return the queue on which jobs of this endpoint wait."""
    return _PREFIX + endpoint_name
