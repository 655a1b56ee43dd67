"""Jobs: state and outcome, cancelling, and the recent ones."""

from __future__ import annotations

from flask import Blueprint, Response

from api import identity, placing, responses, services
from api.guard import needs
from api.requests import body, query
from api.schemas import JobCancel, JobList, JobLookUp, JobWait
from registry.roles import Role
from workers import jobs, lookup, waiting

blueprint = Blueprint("jobs", __name__)


@blueprint.get("/jobs/<job_id>")
@needs(Role.CLIENT)
def show_job(job_id: str) -> Response:
    """Show a job; with `?wait=N`, as soon as it has ended or after N seconds."""
    here = services.current()
    with here.holding(min(query(JobWait).wait, here.settings.max_wait_s)) as wait_s:
        job = waiting.default_waiter().wait(job_id, wait_s, identity.current().sees_jobs_of)
    return responses.job(placing.placed(here, job))


@blueprint.delete("/jobs/<job_id>")
@needs(Role.CLIENT)
def cancel_job(job_id: str) -> Response:
    """Cancel a job that is still queued; with `?force=true` also one that runs."""
    cancelled = jobs.cancel(job_id, force=query(JobCancel).force, owner=identity.current().sees_jobs_of)
    return responses.document(cancelled.document())


@blueprint.get("/jobs")
@needs(Role.CLIENT)
def list_jobs() -> Response:
    """List recent jobs, newest first."""
    wanted = query(JobList)
    found = jobs.recent(wanted.endpoint_name, wanted.status, wanted.limit, identity.current().sees_jobs_of)
    return responses.document({"jobs": [job.document() for job in jobs.placed(found)]})


@blueprint.post("/jobs/lookup")
@needs(Role.CLIENT)
def look_up_jobs() -> Response:
    """Show many jobs; with `?wait=N`, as soon as all of them have ended or after N seconds."""
    here = services.current()
    wanted = body(JobLookUp)
    with here.holding(min(query(JobWait).wait, here.settings.max_wait_s)) as wait_s:
        found = lookup.look_up(wanted.job_ids, wait_s, identity.current().sees_jobs_of)
    return responses.document(found.document())
