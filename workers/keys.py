"""Every Redis key and channel, and the message header, that crosses processes."""

from __future__ import annotations

#: Message header: when the job was submitted, in seconds since the epoch.
SUBMITTED_AT_HEADER = "queuecast_submitted_at"

#: Zset: delivery tag -> time (s, Redis clock) at which its lease runs out.
LEASES = "queuecast:leases"
#: Hash: delivery tag -> queue name, newline, message; what a lease gives back when it runs out.
LEASED = "queuecast:leased"
#: Hash: delivery tag -> how often its lease ran out.
LOST_LEASES = "queuecast:lost-leases"
#: List: messages that are no task messages, newest first, bounded.
MALFORMED = "queuecast:malformed"

#: Zset: worker name -> time of its last report (s, Redis clock).
WORKERS = "queuecast:workers"
#: Hash: worker name -> its last report, as JSON.
REPORTS = "queuecast:reports"
#: Channel: something about the desired deployments has changed.
NUDGE_CHANNEL = "queuecast:nudge"
#: Set: endpoints that have ever had a job.
ENDPOINTS = "queuecast:endpoints"


def record(job_id: str) -> str:
    """Celery's key (and channel) of a job's record."""
    return f"celery-task-meta-{job_id}"


def recent(endpoint_name: str) -> str:
    """Zset: job id -> submit time (s), the newest jobs of an endpoint."""
    return f"queuecast:recent:{endpoint_name}"


def counts(endpoint_name: str) -> str:
    """Hash of counters of an endpoint; they go on when it is deployed anew."""
    return f"queuecast:counts:{endpoint_name}"


def latencies(endpoint_name: str, window: int) -> str:
    """Hash: latency bucket -> jobs, for one window of time."""
    return f"queuecast:latencies:{endpoint_name}:{window}"
