"""The name of the task, and of the queues of a deployment: computed here and stored nowhere."""

from __future__ import annotations

from collections.abc import Sequence

from workers.queues.priorities import REDIS_STEPS, Priority

#: The one task of this service; part of the contract with other Celery programs.
TASK_NAME = "predict"
#: Celery's own default queue; nothing of ours is sent there.
CONTROL_QUEUE = "queuecast"
#: The task that tells a job's end to somebody, and its queue: see `webhooks`.
DELIVER_TASK = "queuecast.deliver"
WEBHOOKS_QUEUE = "queuecast.webhooks"
#: Sets in which kombu stores the bindings of control queues; the second is for queues that don't expire by themselves.
PIDBOX_BINDINGS = ("_kombu.binding.celery.pidbox", "_kombu.binding_permanent.celery.pidbox")
_PREFIX = "predict."
#: No endpoint's name has a colon.
_SUFFIXES = {Priority.HIGH: ":high", Priority.NORMAL: "", Priority.LOW: ":low"}
_PRIORITIES = {suffix: priority for priority, suffix in _SUFFIXES.items()}
#: In Redis, kombu makes a list of its own of a queue for each range of numbers but the first.
_KOMBU_LISTS = [f"\x06\x16{step}" for step in REDIS_STEPS[1:]]


def pidbox_binding(worker_name: str) -> str:
    """Return a worker's entry in those sets: an empty routing key and pattern, and its control queue."""
    return f"\x06\x16\x06\x16{worker_name}.celery.pidbox"


def queue_name(endpoint_name: str, priority: Priority = Priority.NORMAL) -> str:
    """Return the queue on which jobs of this endpoint and priority wait."""
    return _PREFIX + endpoint_name + _SUFFIXES[priority]


def queue_names(endpoint_name: str) -> list[str]:
    """Return the queues of an endpoint, the most urgent first."""
    return [queue_name(endpoint_name, priority) for priority in Priority]


def endpoint_of(queue: str) -> str:
    """Return the endpoint of a queue."""
    return queue.removeprefix(_PREFIX).partition(":")[0]


def priority_of(queue: str) -> Priority:
    """Return the priority of the jobs in a queue."""
    _, colon, name = queue.rpartition(":")
    return _PRIORITIES.get(colon + name, Priority.NORMAL)


def _lists(priority: Priority) -> list[str]:
    suffix = _SUFFIXES[priority]
    named = [suffix, *(suffix + each for each in _KOMBU_LISTS)]
    if priority is Priority.NORMAL:
        return named[:1]
    # A number puts a job off, unless the queue's name says what it is.
    return named if priority is Priority.HIGH else [*named, *_KOMBU_LISTS]


#: What follows `queue_name` in the names of the lists of each priority in Redis, in the order in which they are read:
#: our own, and those that kombu makes for programs that send numbers.
LISTS: dict[Priority, Sequence[str]] = {priority: _lists(priority) for priority in Priority}
