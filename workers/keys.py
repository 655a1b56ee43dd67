"""Every Redis key and channel, and the message header, that crosses processes."""

from __future__ import annotations

#: Message header: when the job was submitted, in seconds since the epoch.
SUBMITTED_AT_HEADER = "queuecast_submitted_at"
#: Message headers, named as in HTTP (W3C Trace Context): the trace that the job belongs to.
TRACEPARENT_HEADER = "traceparent"
TRACESTATE_HEADER = "tracestate"
#: Message header: the name of the API key that the job was submitted with; null for a job of a Celery program.
OWNER_HEADER = "queuecast_owner"
#: Message header: what only those who know QUEUECAST_MESSAGE_KEY can write (see `signing`).
SIGNATURE_HEADER = "queuecast_signature"

#: Zset: delivery tag -> time (s, Redis clock) at which its lease runs out. On RabbitMQ the tag is the job's id.
LEASES = "queuecast:leases"
#: Hash: queue -> submit time (s) of the job that was fetched last, where the broker doesn't show its queues.
HEADS = "queuecast:heads"
#: Hash: delivery tag -> queue name, newline, message; what a lease gives back when it runs out.
LEASED = "queuecast:leased"
#: Hash: queue -> how many jobs were taken of it while some wait whose priority is not normal.
TURNS = "queuecast:turns"
#: List: messages that are no task messages, newest first, bounded.
MALFORMED = "queuecast:malformed"

#: Zset: worker name -> time of its last report (s, Redis clock).
WORKERS = "queuecast:workers"
#: Hash: worker name -> its last report, as JSON.
REPORTS = "queuecast:reports"
#: Channel: something about the desired deployments has changed.
NUDGE_CHANNEL = "queuecast:nudge"
#: Channel: a running job was cancelled by force.
CANCEL_CHANNEL = "queuecast:cancel"
#: Channel: jobs have ended; each message is their ids, with `ENDED_SEPARATOR` in between.
ENDED_CHANNEL = "queuecast:ended"
ENDED_SEPARATOR = "\n"
#: Set: endpoints that have ever had a job.
ENDPOINTS = "queuecast:endpoints"
#: Hash: endpoint -> the most jobs of it that may be unfinished at once.
LIMITS = "queuecast:limits"
#: Hash: job id -> where its end is to be told (see `webhooks.outbox`), until it has ended.
CALLBACKS = "queuecast:callbacks"
#: Hash: endpoint -> where the ends of its jobs are to be told that have no place of their own.
ENDPOINT_CALLBACKS = "queuecast:endpoint-callbacks"
#: Zset: job id -> time (s) of its end, which is still to be told.
WEBHOOKS_PENDING = "queuecast:webhooks:pending"
#: Zset: job id -> time (s) at which its end was told, or given up to be.
WEBHOOKS_ENDED = "queuecast:webhooks:ended"
#: Zset: receiver (host and port) -> time (s) at which there is something to do for it.
WEBHOOK_RECEIVERS = "queuecast:webhooks:receivers"
#: Hash: receiver -> how many attempts in a row have failed there.
WEBHOOKS_FAILING = "queuecast:webhooks:failing"
#: Hash: what became of deliveries and attempts -> how many of them.
WEBHOOK_COUNTS = "queuecast:webhooks:counts"
#: Channel: there is something to tell, now.
WEBHOOKS_CHANNEL = "queuecast:webhooks:new"
#: Zset: job id -> time (s) after which it must not run any more.
EXPIRING = "queuecast:expiring"
#: Never exists: see `redis_client.EVEN_IF_FULL`.
NOTHING = "queuecast:nothing"
#: String that exists while some worker has looked for lost and expired jobs lately.
SWEPT = "queuecast:swept"
#: Zset: job id -> time (s) at which it was given up.
DEAD_LETTERS = "queuecast:dead-letters"


def record(job_id: str) -> str:
    """Celery's key (and channel) of a job's record."""
    return f"celery-task-meta-{job_id}"


def message(job_id: str) -> str:
    """The message of an unfinished job, to send it again should it be lost."""
    return f"queuecast:message:{job_id}"


def unfinished(endpoint_name: str) -> str:
    """Zset: job id -> time (s) at which it was last put into the queue, of jobs that have not ended."""
    return f"queuecast:unfinished:{endpoint_name}"


def levels(endpoint_name: str) -> str:
    """Zset: job id -> time (s) of its submit, negative where it is high, of unfinished jobs that are not normal."""
    return f"queuecast:levels:{endpoint_name}"


def dead_letter(job_id: str) -> str:
    """A job that was given up: its message and the reasons, as JSON."""
    return f"queuecast:dead-letter:{job_id}"


def idempotency(scope: str) -> str:
    """The job that was submitted first under an idempotency key (`scope` is its digest)."""
    return f"queuecast:idempotency:{scope}"


def sending(scope: str) -> str:
    """Exists while the first request under an idempotency key has a record but no message yet."""
    return f"queuecast:sending:{scope}"


def rate(name: str) -> str:
    """When whoever has this name will have used up what it may do (s, Redis clock)."""
    return f"queuecast:rate:{name}"


def ticket(digest: str) -> str:
    """The job that a ticket is for (`digest` is the ticket's); gone when its time is over."""
    return f"queuecast:ticket:{digest}"


def session(digest: str) -> str:
    """The id of the API key that somebody has logged in with at the console (`digest` is of their cookie)."""
    return f"queuecast:session:{digest}"


def recent(endpoint_name: str) -> str:
    """Zset: job id -> submit time (s), the newest jobs of an endpoint."""
    return f"queuecast:recent:{endpoint_name}"


def counts(endpoint_name: str) -> str:
    """Hash of counters of an endpoint; they go on when it is deployed anew."""
    return f"queuecast:counts:{endpoint_name}"


def latencies(endpoint_name: str, window: int) -> str:
    """Hash: latency bucket -> jobs, for one window of time."""
    return f"queuecast:latencies:{endpoint_name}:{window}"


def delivery(job_id: str) -> str:
    """Hash: what is to be told of a job's end, where, and what became of it."""
    return f"queuecast:webhook:{job_id}"


def webhooks_due(receiver: str) -> str:
    """Zset: job id -> time (s) at which its end is to be told next, of what is told to one receiver."""
    return f"queuecast:webhooks:due:{receiver}"


def webhooks_leased(receiver: str) -> str:
    """Zset: job id -> time (s) until which somebody is telling its end to this receiver."""
    return f"queuecast:webhooks:leased:{receiver}"
