"""Routes of a job's server-sent events, and of links to them for browsers, which can't send a key."""

from __future__ import annotations

import time

from flask import Blueprint, Response

from api.auth import identity
from api.edge.call import Call, Rest, hot
from api.http.exchange import Answer
from api.http.flask_app.requests import query
from api.http.route import Operation
from api.jobs import events as event_streams
from api.jobs.responses import event_stream, events_link
from api.jobs.schemas import EventsLink, EventsLinkQuery, JobEvents, JobEventStream
from registry.roles import Role
from workers.jobs import query as job_query
from workers.jobs import tickets

blueprint = Blueprint("events", __name__)


@blueprint.get("/jobs/<job_id>/events")
@Operation(
    Role.CLIENT,
    "Jobs",
    {200: JobEventStream, 204: None},
    query=JobEvents,
    errors=(404, 409, 429, 503),
    takes_last_event_id=True,
    media_types=("text/event-stream",),
    takes_ticket=True,
)
@hot
def stream_events(call: Call, job_id: str) -> Rest:
    """Stream a job's changes of state as server-sent events, until it has ended."""
    call.query(JobEvents)
    return _streamed(call, job_id)


async def _streamed(call: Call, job_id: str) -> Answer:
    frames = await event_streams.begin(call, job_id, call.request.header("HTTP_LAST_EVENT_ID"))
    return Answer(204) if frames is None else event_stream(frames)


@blueprint.post("/jobs/<job_id>/events-link")
@Operation(Role.CLIENT, "Jobs", {201: EventsLink}, query=EventsLinkQuery, errors=(404, 409, 503))
def link_events(job_id: str) -> Response:
    """Make a link to a job's events that needs no key, for a page to open."""
    lives_s = query(EventsLinkQuery).expires_in
    job = job_query.get(job_id, identity.current().sees_jobs_of)
    return events_link(job.job_id, tickets.make(job.job_id, lives_s), time.time() + lives_s)
