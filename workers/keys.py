"""Every Redis key and channel, and the message header, that crosses processes."""

from __future__ import annotations

#: Message header: when the job was submitted, in seconds since the epoch.
SUBMITTED_AT_HEADER = "queuecast_submitted_at"
#: Message headers, named as in HTTP (W3C Trace Context): the trace that the job belongs to.
TRACEPARENT_HEADER = "traceparent"
TRACESTATE_HEADER = "tracestate"
#: Message header: the name of the API key that the job was submitted with; null for a job of a Celery program.
OWNER_HEADER = "queuecast_owner"
#: Message header: the key by which a rollout deals the job to one of two versions; null for the job's id.
STICKY_KEY_HEADER = "queuecast_sticky_key"
#: Message header: the module in which the sender finds the class of a failed job's error. Programs of the release
#: before don't send it.
ERRORS_HEADER = "queuecast_errors"
#: Message header: the signature made with QUEUECAST_MESSAGE_KEY (see `signing`).
SIGNATURE_HEADER = "queuecast_signature"

#: Zset: delivery tag -> time (s, Redis clock) at which its lease runs out. On RabbitMQ the tag is the job's id.
LEASES = "queuecast:leases"
#: Hash: queue -> time (s, as in `unfinished`) of the job fetched last, where the broker doesn't show its queues.
HEADS = "queuecast:heads"
#: Hash: delivery tag -> queue name, newline, message; what a lease gives back when it runs out.
LEASED = "queuecast:leased"
#: Hash: delivery tag -> the holder of its lease, a space, and when the lease runs out (s, as in the zset).
HOLDERS = "queuecast:holders"
#: Hash: "readers of " and delivery tag -> workers that began to read this message and have not finished, with blanks
#: in between.
READING = "queuecast:reading"
#: Hash: queue -> how many jobs were taken of it while some wait whose priority is not normal.
TURNS = "queuecast:turns"
#: List: messages that are no task messages, newest first, bounded.
MALFORMED = "queuecast:malformed"

#: Zset: worker name -> time of its last report (s, Redis clock).
WORKERS = "queuecast:workers"
#: Hash: worker name -> its last report, as JSON.
REPORTS = "queuecast:reports"
#: Hash: endpoint that has served a version since it was deployed -> the revision that served last.
SERVED = "queuecast:served"
#: Hash: endpoint -> snapshot of its deployment for submits, as JSON (see `snapshots`).
DEPLOYMENTS = "queuecast:deployments"
#: Hash: endpoint that takes jobs -> 1; and when they were read from the registry (see `endpoints.names`).
TAKING_JOBS = "queuecast:taking-jobs"
#: String: how many programs have missed a name there; channel: one has.
TAKING_JOBS_ASKED = "queuecast:taking-jobs:asked"
TAKING_JOBS_CHANNEL = "queuecast:taking-jobs:new"
#: Hash: name under which nothing is deployed, but for which jobs wait -> since when it was seen so (s, Redis clock).
UNKNOWN_ENDPOINTS = "queuecast:unknown-endpoints"
#: String: exists while a background process has looked for such names lately; and how many jobs were failed for them.
UNKNOWN_ENDPOINTS_SEEN = "queuecast:unknown-endpoints:seen"
UNKNOWN_ENDPOINTS_FAILED = "queuecast:unknown-endpoints:failed"
#: Channel: something about the desired deployments has changed.
NUDGE_CHANNEL = "queuecast:nudge"
#: Channel: a running job was cancelled by force.
CANCEL_CHANNEL = "queuecast:cancel"
#: Channel: jobs have ended; each message is their ids, with `ENDED_SEPARATOR` in between; if it begins
#: with one, each id is followed by its record.
ENDED_CHANNEL = "queuecast:ended"
ENDED_SEPARATOR = "\n"
#: Set: endpoints that have jobs, or had until their records expired.
ENDPOINTS = "queuecast:endpoints"
#: Hash: endpoint -> most unfinished jobs; endpoint and ":bytes" -> most bytes of them; ":bytes" -> default (`weights`).
LIMITS = "queuecast:limits"
#: Hash: job id -> target of its webhook (see `jobs.outbox`), until the job has ended.
CALLBACKS = "queuecast:callbacks"
#: Hash: endpoint -> target of the webhooks of its jobs that have no `callback_url` of their own.
ENDPOINT_CALLBACKS = "queuecast:endpoint-callbacks"
#: Zset: job id -> time (s) of its end, of jobs whose webhook is not delivered yet.
WEBHOOKS_PENDING = "queuecast:webhooks:pending"
#: Zset: job id -> time (s) at which its webhook was delivered, or given up.
WEBHOOKS_ENDED = "queuecast:webhooks:ended"
#: Zset: receiver (host and port) -> time (s) of the next attempt for it.
WEBHOOK_RECEIVERS = "queuecast:webhooks:receivers"
#: Hash: receiver -> how many attempts in a row have failed there.
WEBHOOKS_FAILING = "queuecast:webhooks:failing"
#: Hash: outcome of deliveries and attempts -> how many of them.
WEBHOOK_COUNTS = "queuecast:webhooks:counts"
#: Channel: a webhook is due now.
WEBHOOKS_CHANNEL = "queuecast:webhooks:new"
#: Hash: job id -> what follows its end (see `jobs.endings.successors`), until the job has ended.
SUCCESSORS = "queuecast:successors"
#: Zset: note of successors that are to be published -> time (s) of the next attempt.
SUCCESSORS_DUE = "queuecast:successors:due"
#: Zset: job that has a plan there, but no record yet -> when it was first seen so (s, Redis clock).
SUCCESSORS_UNRECORDED = "queuecast:successors:unrecorded"
#: Zset: job id -> time (s) after which it must not run any more.
EXPIRING = "queuecast:expiring"
#: Never exists: see `platform/lua/even_if_full.lua`.
NOTHING = "queuecast:nothing"
#: String that exists while some worker has looked for lost and expired jobs lately.
SWEPT = "queuecast:swept"
#: String: number of the last ten minutes whose minutes were added up into `spans`.
PACKED = "queuecast:packed"
#: Zset: job id -> time (s) at which it was given up.
DEAD_LETTERS = "queuecast:dead-letters"
#: Zset of the failed jobs whose inputs are kept: bytes, endpoint and job id with blanks in between -> time (s, Redis
#: clock) until which.
KEPT_INPUTS = "queuecast:kept-inputs"
#: Hash: endpoint -> bytes of its kept inputs; "" -> those of all.
KEPT_INPUT_BYTES = "queuecast:kept-input-bytes"
#: Stream: jobs that have ended and that the journal keeps, until they are in its files (see `jobs.journal`).
JOURNAL = "queuecast:journal"
#: Hash: bytes of that stream; jobs of each endpoint that were added, dropped, moved and unreadable.
JOURNAL_COUNTS = "queuecast:journal:counts"
#: String: the process that may write the journal's files; gone when its time is over.
JOURNAL_WRITER = "queuecast:journal:writer"
#: String: first and last id of the entries that are being moved to files, with a blank in between.
JOURNAL_MOVING = "queuecast:journal:moving"

#: Hash: endpoint -> its quality over the last day, as JSON (see `judging.monitoring`).
QUALITY = "queuecast:monitoring:quality"
#: Hash: endpoint -> sums of its quality by UTC day, as JSON.
QUALITY_DAYS = "queuecast:monitoring:quality-days"
#: Hash: endpoint -> its drift over the last day, as JSON.
DRIFT = "queuecast:monitoring:drift"

#: Zset: unfinished pipeline -> time (s, Redis clock) at which it is looked at again (see `pipelines`).
PIPELINES_DUE = "queuecast:pipelines:due"

#: Stream: what two versions answered to the same job (see `measures.arms`).
PAIRS = "queuecast:pairs"


def record(job_id: str) -> str:
    """Celery's key (and channel) of a job's record."""
    return f"celery-task-meta-{job_id}"


def message(job_id: str) -> str:
    """The message of an unfinished job, to send it again should it be lost."""
    return f"queuecast:message:{job_id}"


def unfinished(endpoint_name: str) -> str:
    """Zset of unfinished jobs: job id -> time (s, Redis clock) at which it was last, or will be, put into its queue."""
    return f"queuecast:unfinished:{endpoint_name}"


def pipeline(pipeline_id: str) -> str:
    """The plan of a pipeline, until it has ended, as JSON."""
    return f"queuecast:pipeline:{pipeline_id}"


def delayed(endpoint_name: str) -> str:
    """Zset of delayed jobs, which are not in their queue: job id -> time (s) at which it is due."""
    return f"queuecast:delayed:{endpoint_name}"


def prioritized(endpoint_name: str) -> str:
    """Zset of unfinished jobs of high or low priority: job id -> its score in `unfinished`, negative if high."""
    return f"queuecast:levels:{endpoint_name}"


def weights(endpoint_name: str) -> str:
    """Hash of unfinished jobs: job id -> bytes of its message, whether it is high, and owner; also holds the sums."""
    return f"queuecast:weights:{endpoint_name}"


def dead_letter(job_id: str) -> str:
    """A job that was given up, or has failed and its input is kept: its message and the reasons, as JSON."""
    return f"queuecast:dead-letter:{job_id}"


def kept_inputs(endpoint_name: str) -> str:
    """The part of `KEPT_INPUTS` that is an endpoint's, as a zset of the same members."""
    return f"queuecast:kept-inputs:{endpoint_name}"


def idempotency(scope: str) -> str:
    """The job that was submitted first under an idempotency key (`scope` is its digest)."""
    return f"queuecast:idempotency:{scope}"


def seed(scope: str) -> str:
    """A random number, from which the ids of many jobs under one idempotency key follow."""
    return f"queuecast:seed:{scope}"


def sending(scope: str) -> str:
    """Exists while the first request under an idempotency key has a record but no message yet."""
    return f"queuecast:sending:{scope}"


def rate(name: str) -> str:
    """Time (s, Redis clock) until which this name has used up its rate."""
    return f"queuecast:rate:{name}"


def ticket(digest: str) -> str:
    """The job that a ticket is for (`digest` is the ticket's); gone when its time is over."""
    return f"queuecast:ticket:{digest}"


def session(digest: str) -> str:
    """The id of the API key of a session of the console (`digest` is of its cookie)."""
    return f"queuecast:session:{digest}"


def recent(endpoint_name: str) -> str:
    """Zset: job id -> submit time (s), the newest jobs of an endpoint."""
    return f"queuecast:recent:{endpoint_name}"


def jobs_of(owner: str) -> str:
    """Zset: job id -> submit time (s), the newest jobs of an API key's name."""
    return f"queuecast:jobs-of:{owner}"


def jobs_of_complete(owner: str) -> str:
    """Exists if that set has also what was submitted before there were such sets."""
    return f"queuecast:jobs-of-complete:{owner}"


def counts(endpoint_name: str) -> str:
    """Hash of counters of an endpoint; they go on when it is deployed anew."""
    return f"queuecast:counts:{endpoint_name}"


def latencies(endpoint_name: str, window: int) -> str:
    """Hash: latency bucket -> jobs, for one window of time."""
    return f"queuecast:latencies:{endpoint_name}:{window}"


def version_facts(artifact_sha256: str) -> str:
    """What was measured of a version's hosts: memory and load time, as JSON (see `engine.memory.versions`)."""
    return f"queuecast:version-facts:{artifact_sha256}"


def minute(endpoint_name: str, minute: int) -> str:
    """Hash: what ended in one minute, by kind, and its times in buckets; queue depth (see `measures.figures`)."""
    return f"queuecast:minute:{endpoint_name}:{minute}"


def spans(endpoint_name: str) -> str:
    """Hash: number of ten minutes -> their minutes, added up, as text; of the last day."""
    return f"queuecast:spans:{endpoint_name}"


def sampled(day: int) -> str:
    """Bits: the minutes of a day at which the depth of the queues was sampled."""
    return f"queuecast:sampled:{day}"


def delivery(job_id: str) -> str:
    """Hash: a job's webhook: its content, its target and its attempts."""
    return f"queuecast:webhook:{job_id}"


def webhooks_of(owner: str) -> str:
    """Zset of the newest deliveries of an API key's name: job id -> time (s) of the job's end."""
    return f"queuecast:webhooks:of:{owner}"


def webhooks_of_complete(owner: str) -> str:
    """Exists if that set also has the deliveries written by processes of a release without such sets."""
    return f"queuecast:webhooks:of-complete:{owner}"


def webhooks_due(receiver: str) -> str:
    """Zset: job id -> time (s) of the next attempt of its webhook, for one receiver."""
    return f"queuecast:webhooks:due:{receiver}"


def webhooks_leased(receiver: str) -> str:
    """Zset: job id -> time (s) until which a background process attempts to deliver its webhook to this receiver."""
    return f"queuecast:webhooks:leased:{receiver}"


def successor_note(note_id: str) -> str:
    """Hash: successors that are to be published: the plan and the record of an ended job, or a job to submit."""
    return f"queuecast:successors:of:{note_id}"


def monitoring_round(duty: str) -> str:
    """Exists while a background process has computed quality or drift lately, or does."""
    return f"queuecast:monitoring:round:{duty}"


def arms(trial_id: str) -> str:
    """Hash: what the two versions of a shadow or a rollout have done (see `measures.arms`)."""
    return f"queuecast:arms:{trial_id}"
