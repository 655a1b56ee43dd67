"""The meaning of each field and parameter that several schemas share, for the OpenAPI document.

A field that is described at its schema keeps that description. All others are described here, by name; where a name
means something else in one schema, by `Schema.name`. `docs/reference/fields.md` explains the same to people.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_JOBS = {
    "job_id": "The job's id.",
    "endpoint_name": "The endpoint: the name under which a version is deployed.",
    "status": "The job's state: queued, running, succeeded, failed, cancelled or expired.",
    "submitted_at": "When the job was submitted; null if a program sent it without a time.",
    "started_at": "When its batch began; null before that.",
    "finished_at": "When it ended; null before that.",
    "JobDocument.expires_at": "The job expires if it has not begun by then; null for never.",
    "priority": "high, normal or low.",
    "attempts": "How many times the job was begun, also those that were lost with a host or worker.",
    "outcome": "The model's result; null without one.",
    "error": "Why the job failed; null unless it did.",
    "failures": "Attempts whose host or worker was lost.",
    "jobs": "The jobs.",
    "job_ids": "The jobs' ids.",
    "JobLookUp.job_ids": "The ids of the jobs to show.",
    "count": "How many jobs were accepted.",
    "JobError.code": "The stable code of the error, for programs.",
    "JobError.type": "The name of the error, as Celery's programs see it.",
    "JobError.message": "What went wrong, for people.",
    "attempt": "The number of the attempt, from 1.",
    "FailedAttempt.at": "When the attempt was lost.",
    "FailedAttempt.worker": "The worker that ran it.",
    "FailedAttempt.reason": "Why it was lost.",
    "input": "The job's input, as the model's signature says.",
    "inputs": "The job's inputs, as the model's signature says.",
    "given_up_at": "When the job was given up, after its last lost attempt.",
    "dead_letters": "The jobs that were given up.",
    "prediction": "What the model returned for `input`.",
    "predictions": "What the model returned for each of `inputs`, in their order.",
    "worker": "The worker that ran the job.",
    "batch_size": "Rows in the batch that the job was part of.",
    "timing": "Where the job's time went.",
    "queued_ms": "From submit, or from when a delayed job was due, to the start of its batch (ms).",
    "predict_ms": "Time of the model host for the job's batch (ms).",
    "total_ms": "Whole-job time: from submit, or from when a delayed job was due, to the end (ms).",
    "EventsLink.expires_at": "When the link ends.",
    "wait": "Seconds to wait for the end.",
    "?limit": "The most entries to return.",
    "?endpoint_name": "Only those of this endpoint.",
    "?status": "Only those in this state.",
}

_DEPLOYMENTS = {
    "model_name": "The model's name.",
    "version": "The model's version.",
    "DeploymentView.reason": "Why the deployment is not active; null if it is.",
    "workers": "What each worker reports of the deployment, one entry for each version that it has.",
    "worker_group": "The group of workers that serves it.",
    "settings": "The serving settings, defaults included.",
    "deployed_at": "When the endpoint was last deployed, swapped or rolled back.",
    "updated_at": "When the deployment was last changed.",
    "request_count": "Jobs that have ended since the endpoint's first job, cancelled and expired ones included.",
    "succeeded_count": "Jobs that ended with an outcome since the endpoint's first job.",
    "failed_count": "Jobs that ended with an error since the endpoint's first job.",
    "avg_latency_ms": "Mean whole-job time (ms) over the last 15 minutes, at most 5 % off; null without jobs in them.",
    "p50_ms": "Median of whole-job time (ms) over the last 15 minutes; null without jobs in them.",
    "p95_ms": "95th percentile of whole-job time (ms) over the last 15 minutes; null without jobs in them.",
    "p99_ms": "99th percentile of whole-job time (ms) over the last 15 minutes; null without jobs in them.",
    "queue_depth": "Jobs that wait now, in the queue or in a worker.",
    "oldest_job_age_s": "Age of the job that waits longest in the queue (s); null if none waits.",
    "revision": "A number that each change of the deployment raises.",
    "deployments": "The deployments.",
    "Undeploy.endpoint_name": "The endpoint to take down.",
    "Undeploy.model_name": "The model whose deployments to take down.",
}

_MODELS = {
    "name": "The model's name.",
    "Registration.name": "The model's name; a new one makes a new model.",
    "latest_version": "The version that was registered last; null for a model without any.",
    "version_count": "How many versions it has.",
    "created_at": "When it was made.",
    "versions": "The versions, oldest first.",
    "models": "The models.",
    "runtime": "How the artifact is loaded.",
    "runtime_options": "Options of the runtime.",
    "signature": "What an input looks like.",
    "input_example": "An input as the model takes it; null if there is none.",
    "metadata": "Any information that was stored with the version.",
    "Upload.artifact": "The model's file.",
    "Upload.metadata": "What the version is, as JSON.",
    "artifact_sha256": "SHA-256 digest of the artifact.",
    "artifact_size_bytes": "Size of the artifact (bytes).",
    "alias": "The name of the alias.",
}

_KEYS = {
    "keys": "The keys.",
    "key_id": "The id of the key: the first characters of its text.",
    "subscription_id": "The id of the subscription.",
    "ApiKeyView.name": "The name of its user, who owns the jobs submitted with it.",
    "NewApiKey.name": "The name of its user, who owns the jobs submitted with it.",
    "role": "What it may do; each role includes the ones before it.",
    "rate_limit_per_s": "The maximum of requests per second; null for no limit.",
    "revoked_at": "When it was revoked; null if it is valid.",
}

_WEBHOOKS = {
    "deliveries": "The deliveries.",
    "WebhookDelivery.status": "pending, delivered or failed.",
    "next_attempt_at": "When it is tried next; null if it is not.",
    "WebhookAttempt.at": "When the attempt began.",
    "duration_ms": "How long the attempt took (ms).",
}

_SERVICE = {
    "evaluation_id": "The evaluation's id.",
    "Live.status": "`alive`.",
    "Ready.status": "`ready` or `unavailable`.",
    "parts": "Each service that requests need, by name.",
    "Part.status": "`ready` or `unavailable`.",
    "answered_in_ms": "How long its answer took (ms).",
    "Part.code": "The stable code of the error, if it is unavailable.",
    "Part.detail": "Why it is unavailable.",
    "type": "A URI that names the kind of error.",
    "title": "The kind of error, in a few words.",
    **{f"{schema}.status": "The HTTP status." for schema in ("Problem", "InvalidRequest", "V2Error")},
    "detail": "What is wrong, and what to do.",
    "code": "The stable code of the error, for programs.",
    "field": "Which field is wrong, e.g. `inputs[3][1]`.",
    "message": "What is wrong with it.",
    "expected": "What the field may be.",
    "received": "What the field was.",
    "errors": "All fields that are wrong.",
}

_V2 = {
    "id": "The request's id, chosen by the client.",
    "parameters": "Parameters, by name.",
    "InferRequest.inputs": "The inputs of the model.",
    "V2Model.inputs": "The inputs of the model.",
    "outputs": "The outputs of the model.",
    "InferRequest.outputs": "The outputs that are wanted; all by default.",
    **dict.fromkeys(("InputTensor.name", "RequestedOutput.name", "V2TensorMetadata.name"), "The tensor's name."),
    "V2OutputTensor.name": "The tensor's name.",
    "shape": "The length of each dimension.",
    "datatype": "The type of its elements.",
    "V2OutputTensor.data": "The elements, row-major; null if they come as bytes.",
    "V2Server.name": "The server's name.",
    "V2Server.version": "The server's release.",
    "extensions": "The extensions of the protocol that it has.",
    "live": "Whether the process answers.",
    "ready": "Whether requests can be answered now.",
    "platform": "The runtime of the model.",
    "V2Model.versions": "The versions that can be requested.",
    "max_batch_size": "Most rows of a request's batch.",
    "V2Config.input": "The inputs, as a model configuration has them.",
    "output": "The outputs, as a model configuration has them.",
    "model_version": "The version that predicted.",
    "state": "READY, LOADING, UNLOADING or UNAVAILABLE.",
    "V2IndexEntry.reason": "Why it is in that state.",
    "model_stats": "The counters of each deployment.",
    "last_inference": "When the newest job with an outcome ended (ms since the epoch); 0 without one.",
    "inference_count": "Jobs that ended with an outcome.",
    "execution_count": "The same: batches are not counted apart.",
    "inference_stats": "Count and whole time (ns) of jobs with an outcome and with an error; of no other parts.",
    "batch_stats": "Always empty: batches are not counted apart.",
}

#: By field, or by schema and field, or by `?` and parameter.
MEANINGS = {**_JOBS, **_DEPLOYMENTS, **_MODELS, **_KEYS, **_WEBHOOKS, **_SERVICE, **_V2}


def describe(schema_name: str, schema: Json) -> None:
    """Add the missing descriptions to the properties of a schema."""
    for name, each in schema.get("properties", {}).items():
        meaning = MEANINGS.get(f"{schema_name}.{name}") or MEANINGS.get(name)
        if meaning and not each.get("description"):
            each["description"] = meaning


def described(parameter: Json) -> Json:
    """Return a parameter of an operation with its description, taken from its schema if that has one."""
    name, text = parameter["name"], parameter["schema"].get("description")
    meaning = text or MEANINGS.get(f"?{name}") or MEANINGS.get(name)
    return {**parameter, **({"description": meaning} if meaning else {})}
