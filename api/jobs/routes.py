"""Routes of jobs: show, await, cancel and list them."""

from __future__ import annotations

from flask import Blueprint, Response

from api.auth import identity
from api.edge.call import Call, Rest, hot
from api.http.exchange import Answer
from api.http.flask_app import responses
from api.http.flask_app.requests import body, query
from api.http.route import Operation
from api.jobs import position, steps
from api.jobs.responses import job as job_answer
from api.jobs.schemas import (
    CancelledQueued,
    CancelQueued,
    JobCancel,
    JobDocument,
    JobList,
    JobLookUp,
    Jobs,
    JobsLookedUp,
    JobWait,
)
from registry.roles import Role
from workers.jobs import emptying
from workers.jobs import query as job_query
from workers.jobs.emptying import Which
from workers.pipelines import submitting
from workers.platform.loops.blocking import beside

blueprint = Blueprint("jobs", __name__)


@blueprint.get("/jobs/<job_id>")
@Operation(Role.CLIENT, "Jobs", {200: JobDocument}, query=JobWait, errors=(404, 409, 503))
@hot
def show_job(call: Call, job_id: str) -> Rest:
    """Show a job; with `?wait=N`, as soon as it has ended or after N seconds."""
    return _shown(call, job_id, min(call.query(JobWait).wait, call.services.settings.max_wait_s))


async def _shown(call: Call, job_id: str, asked_s: float) -> Answer:
    here, caller = call.services, call.caller
    with here.holding(caller.name, asked_s) as wait_s:
        job = await here.jobs.desk.waits.wait(job_id, wait_s, caller.sees_jobs_of)
    positioned = await steps.with_steps_on_loop(here, await position.with_position_on_loop(here, job))
    return await beside(positioned.record_bytes, job_answer, positioned)


@blueprint.delete("/jobs/<job_id>")
@Operation(Role.CLIENT, "Jobs", {200: JobDocument}, query=JobCancel, errors=(404, 409, 503))
def cancel_job(job_id: str) -> Response:
    """Cancel a job that is still queued; with `?force=true` also one that runs. A pipeline is cancelled as it is."""
    cancelled = submitting.cancel(job_id, force=query(JobCancel).force, owner=identity.current().sees_jobs_of)
    return responses.document(cancelled.document())


@blueprint.post("/jobs/cancel")
@Operation(
    Role.CLIENT,
    "Jobs",
    {200: CancelledQueued},
    body=CancelQueued,
    errors=(503,),
    example={"endpoint_name": "classifier_prod", "older_than_s": 600},
)
def cancel_queued_jobs() -> Response:
    """Cancel the queued jobs of an endpoint, for a client its own; each request works for about 2 s."""
    wanted, owner = body(CancelQueued), identity.current().sees_jobs_of
    which = Which(wanted.endpoint_name, wanted.older_than_s, wanted.delayed, owner)
    done = emptying.cancel_queued(which, cursor=wanted.cursor, dry_run=wanted.dry_run)
    counts = {"matched_count": done.matched, "cancelled_count": done.cancelled, "cursor": done.cursor or None}
    return responses.document(counts)


@blueprint.get("/jobs")
@Operation(Role.CLIENT, "Jobs", {200: Jobs}, query=JobList, errors=(503,))
def list_jobs() -> Response:
    """List recent jobs, newest first."""
    wanted = query(JobList)
    found = job_query.recent(wanted.endpoint_name, wanted.status, wanted.limit, identity.current().sees_jobs_of)
    return responses.document({"jobs": [job.document() for job in job_query.with_positions(found)]})


@blueprint.post("/jobs/lookup")
@Operation(
    Role.CLIENT,
    "Jobs",
    {200: JobsLookedUp},
    body=JobLookUp,
    query=JobWait,
    errors=(503,),
    example={"job_ids": ["82776c54-76a5-4b79-b99d-501c4a52d575"]},
)
@hot
def look_up_jobs(call: Call) -> Rest:
    """Show many jobs; with `?wait=N`, as soon as all of them have ended or after N seconds."""
    wanted = call.body(JobLookUp)
    return _looked_up(call, wanted, min(call.query(JobWait).wait, call.services.settings.max_wait_s))


async def _looked_up(call: Call, wanted: JobLookUp, asked_s: float) -> Answer:
    here, caller = call.services, call.caller
    with here.holding(caller.name, asked_s) as wait_s:
        found = await here.jobs.desk.look_up(wanted.job_ids, wait_s, caller.sees_jobs_of)
    return await beside(found.size_bytes, lambda: responses.json_answer(found.document()))
