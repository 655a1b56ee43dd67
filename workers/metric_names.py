"""The name of every metric, defined once: what the API and the workers export, and dashboards and alerts ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as it is exported; counters end in `_total`."""

    name: str
    text: str
    labels: tuple[str, ...] = ()


#: Labels. Nothing else makes series, so that their number is bounded by what is deployed.
ENDPOINT, VERSION, OUTCOME, STATE, GROUP, PART = "endpoint", "version", "outcome", "state", "group", "part"
METHOD, ROUTE, STATUS, ARM = "method", "route", "status", "arm"
MEASURE, FIELD, GPU = "measure", "field", "gpu"
_VERSION = (ENDPOINT, VERSION)

# Of one worker process, since it started.
JOBS = Metric(
    "queuecast_jobs_total",
    "Jobs that this worker has ended, by what became of them.",
    (*_VERSION, OUTCOME),
)
QUEUED = Metric(
    "queuecast_job_queued_seconds",
    "From the submit of a job to the start of its batch.",
    _VERSION,
)
PREDICTING = Metric(
    "queuecast_batch_predict_seconds",
    "Time that a model host took for a batch.",
    _VERSION,
)
BATCH_ROWS = Metric("queuecast_batch_rows", "Rows in a batch.", _VERSION)
HOST_RESTARTS = Metric(
    "queuecast_host_restarts_total",
    "Model hosts that died or were killed, and were replaced.",
    _VERSION,
)

COLD_STARTS = Metric(
    "queuecast_cold_start_seconds",
    "From the first waiting job of an asleep deployment until a host had its version.",
    _VERSION,
)
EVICTIONS = Metric(
    "queuecast_evictions_total",
    "How often a deployment was put to sleep because others needed the worker's memory.",
    _VERSION,
)
PLACED = Metric(
    "queuecast_endpoint_placed",
    "1 for an endpoint that this worker serves, 0 for one that it leaves to others of its group.",
    (ENDPOINT,),
)
TAKEOVERS = Metric(
    "queuecast_takeovers_total",
    "How often the worker began to serve an endpoint that it had left to others.",
    (ENDPOINT,),
)
WORKER_MEMORY = Metric(
    "queuecast_worker_memory_bytes",
    "Memory that the worker's model hosts use, and that is kept for them.",
)
WORKER_MEMORY_BUDGET = Metric(
    "queuecast_worker_memory_budget_bytes",
    "Memory that the worker's model hosts may use together; absent without a limit.",
)
WORKER_GPU_SHARE = Metric(
    "queuecast_worker_gpu_share",
    "The sum of the shares that model hosts have of a GPU of the worker (0 to 1).",
    (GPU,),
)
WORKER_GPU_USED = Metric(
    "queuecast_worker_gpu_used_bytes",
    "Memory of a GPU of the worker that all processes use; absent if nvidia-smi doesn't show it.",
    (GPU,),
)
WORKER_GPU_MEMORY = Metric(
    "queuecast_worker_gpu_memory_bytes",
    "Memory of a GPU of the worker; absent if nvidia-smi doesn't show it.",
    (GPU,),
)

# Of the whole service, read from Redis and the registry by whichever API process is asked.
ENDPOINT_JOBS = Metric(
    "queuecast_endpoint_jobs_total",
    "Jobs of an endpoint that have ended, on all workers and since its first job.",
    (ENDPOINT, OUTCOME),
)
JOB_DURATION = Metric(
    "queuecast_endpoint_job_duration_seconds",
    "Whole-job time, from submit to end, of jobs with an outcome or an error, on all workers and since the first job.",
    (ENDPOINT,),
)
QUEUE_DEPTH = Metric(
    "queuecast_queue_depth",
    "Jobs that wait, in the queue or in a worker.",
    (ENDPOINT,),
)
QUEUE_BYTES = Metric(
    "queuecast_queue_bytes",
    "Bytes of the messages of unfinished jobs, limited by max_queue_bytes.",
    (ENDPOINT,),
)
OLDEST_JOB_AGE = Metric(
    "queuecast_oldest_job_age_seconds",
    "Age of the job that waits longest in the queue; 0 if none does.",
    (ENDPOINT,),
)
DELAYED_JOBS = Metric(
    "queuecast_delayed_jobs",
    "Delayed jobs (eta), which wait outside of the queue.",
    (ENDPOINT,),
)
DELAYED_NEXT = Metric(
    "queuecast_delayed_next_due_seconds",
    "Seconds until the first delayed job is due, below 0 if it is overdue; absent without delayed jobs.",
    (ENDPOINT,),
)
DEPLOYMENT_STATE = Metric(
    "queuecast_deployment_state",
    "1 for the state that a deployment is in, 0 for the others.",
    (*_VERSION, STATE),
)
ROLLOUT_STATE = Metric(
    "queuecast_rollout_state",
    "1 for the state that an endpoint's rollout is in, 0 for the others; until an hour after its end.",
    (*_VERSION, STATE),
)
ROLLOUT_WEIGHT = Metric(
    "queuecast_rollout_weight",
    "Share of the jobs that a rollout's candidate answers (0 to 1).",
    _VERSION,
)
ROLLOUT_STEP = Metric(
    "queuecast_rollout_step",
    "Number of a rollout's present step; 0 before the first.",
    _VERSION,
)
ROLLOUT_JOBS = Metric(
    "queuecast_rollout_jobs_total",
    "Jobs of both versions since a rollout began (arm stable or candidate), and those that each failed.",
    (*_VERSION, ARM, OUTCOME),
)
HOSTS_READY = Metric(
    "queuecast_hosts_ready",
    "Model hosts that have the version loaded.",
    _VERSION,
)
HOSTS_WANTED = Metric(
    "queuecast_hosts_wanted",
    "Model hosts that there should be on the workers that serve it.",
    _VERSION,
)
HOST_MEMORY = Metric(
    "queuecast_host_memory_bytes",
    "Resident memory of the model hosts.",
    _VERSION,
)
GROUP_UNFINISHED_JOBS = Metric(
    "queuecast_group_unfinished_jobs",
    "Queued jobs of all priorities and running jobs of the group, without delayed ones.",
    (GROUP,),
)
GROUP_WANTED_WORKERS = Metric(
    "queuecast_group_wanted_workers",
    "Workers that the group needs now: 0 while all its deployments sleep without jobs.",
    (GROUP,),
)
WORKERS = Metric("queuecast_workers", "Workers that live.", (GROUP,))
DEAD_LETTERS = Metric("queuecast_dead_letters", "Jobs that were given up and are kept.")
WEBHOOKS = Metric(
    "queuecast_webhook_deliveries_total",
    "Webhooks that were delivered, or given up.",
    (OUTCOME,),
)
WEBHOOK_FAILURES = Metric("queuecast_webhook_attempt_failures_total", "Attempts to deliver a webhook that failed.")
WEBHOOKS_PENDING = Metric("queuecast_webhooks_pending", "Webhooks that are to be delivered, now or by a later attempt.")
UNKNOWN_ENDPOINT_JOBS = Metric(
    "queuecast_unknown_endpoint_jobs_total",
    "Jobs of bare Celery programs that failed because nothing was deployed as their endpoint.",
)
WEBHOOKS_OVERDUE = Metric(
    "queuecast_webhooks_overdue_seconds",
    "For how long the webhook that is due first has been; 0 if none is.",
)
JOURNAL_JOBS = Metric(
    "queuecast_journal_jobs_total",
    "Ended jobs that the journal has taken, or dropped because too many waited to be written.",
    (ENDPOINT, OUTCOME),
)
JOURNAL_BYTES = Metric(
    "queuecast_journal_stream_bytes",
    "Bytes of ended jobs that wait to be written to the journal's files.",
)
JOURNAL_LAG = Metric(
    "queuecast_journal_lag_seconds",
    "For how long the first of these jobs has waited; 0 if none waits.",
)
QUALITY = Metric(
    "queuecast_quality",
    "Accuracy, mae and rmse (measure) by feedback on jobs that ended in the last 24 hours; absent without feedback.",
    (*_VERSION, MEASURE),
)
DRIFT = Metric(
    "queuecast_drift",
    "Population stability index of a field in the jobs of the last 24 hours, against the version's first jobs.",
    (ENDPOINT, FIELD),
)
UP = Metric(
    "queuecast_up",
    "Whether the API reaches redis and the registry.",
    (PART,),
)

# Of one API process, since it started.
HTTP_REQUESTS = Metric(
    "queuecast_http_requests_total",
    "HTTP requests that were answered.",
    (METHOD, ROUTE, STATUS),
)
EVENT_STREAMS = Metric("queuecast_event_streams", "Streams of events (GET /jobs/<id>/events) that are open.")
HTTP_DURATION = Metric(
    "queuecast_http_request_duration_seconds",
    "Time to answer an HTTP request; long polls take what they were asked to.",
    (ROUTE,),
)
