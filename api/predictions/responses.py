"""Responses to submits: the outcome, or where it will be."""

from __future__ import annotations

from api.http.exchange import Answer, Request
from api.http.flask_app.responses import json_answer, own_json_answer, preference_applied
from api.predictions.bulk import SubmittedMany
from api.predictions.service import Submitted
from workers.deployments.status import retry_after_s
from workers.jobs.query import JobState, JobView


def submitted(request: Request, result: Submitted, wait_s: float | None) -> Answer:
    """Return the outcome if the job has one by now (200), or the address where it will be (202)."""
    job, deployment = result.job, result.deployment
    url = request.address(f"/jobs/{job.job_id}")
    headers = {"Location": url, **preference_applied(wait_s)}
    if job.state is JobState.SUCCEEDED:
        return json_answer({"job_id": job.job_id, **(job.outcome or {})}, 200, headers)
    accepted = {
        "job_id": job.job_id,
        "status": job.state.value,
        "endpoint_name": deployment.endpoint_name,
        "model_name": deployment.model_name,
        "version": deployment.version,
        "url": url,
        "queue": None if job.queue_position is None else job.queue_position.document(),
    }
    return own_json_answer(accepted, 202, {**headers, **retry_after(job)})


def submitted_many(request: Request, result: SubmittedMany) -> Answer:
    """Return the ids of the jobs, in the order of the request."""
    deployment, last = result.deployment, result.last
    accepted = {
        "job_ids": result.job_ids,
        "count": len(result.job_ids),
        "endpoint_name": deployment.endpoint_name,
        "model_name": deployment.model_name,
        "version": deployment.version,
        "url": request.address(f"/jobs?endpoint_name={deployment.endpoint_name}"),
        "queue": None if last.queue_position is None else last.queue_position.document(),
    }
    return own_json_answer(accepted, 202, retry_after(last))


def retry_after(job: JobView) -> dict[str, str]:
    """Return the header with the seconds after which to ask for the job again; none once it has ended."""
    return {} if job.state.terminal else {"Retry-After": str(retry_after_s(job))}
