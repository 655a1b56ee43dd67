"""Routes of failed jobs: show the input that is kept, and run a job again."""

from __future__ import annotations

from flask import Blueprint, Response

from api.auth import identity
from api.http.flask_app import requests, responses
from api.http.flask_app.requests import body
from api.http.route import Operation
from api.jobs import replays
from api.jobs.schemas import KeptInput, Retry
from api.predictions.responses import submitted
from api.predictions.schemas import Accepted
from api.process import services
from registry.roles import Role

blueprint = Blueprint("retries", __name__)


@blueprint.get("/jobs/<job_id>/input")
@Operation(Role.CLIENT, "Jobs", {200: KeptInput}, errors=(404, 409, 503))
def show_input(job_id: str) -> Response:
    """Show the input of a failed job, if it is kept."""
    return responses.document(replays.kept_input(job_id, identity.current().sees_jobs_of))


@blueprint.post("/jobs/<job_id>/retry")
@Operation(
    Role.CLIENT,
    "Jobs",
    {202: Accepted},
    body=Retry,
    errors=(404, 409, 429, 503),
    takes_idempotency_key=True,
    example={"input": [0.5, 0.8, 0.2]},
)
def retry_job(job_id: str) -> Response:
    """Run a failed job again, as a new job with the same or an edited input."""
    wanted, caller = body(Retry), identity.current()
    key = identity.idempotency_key(requests.current(), caller)
    result = replays.retry(services.current(), caller, job_id, wanted, key)
    return responses.of(submitted(requests.current(), result, None))
