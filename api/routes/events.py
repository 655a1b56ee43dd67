"""Server-sent events of one job, and links to them for browsers, which can't send a key."""

from __future__ import annotations

import time

from flask import Blueprint, Response, request

from api import event_streams, identity, responses, services
from api.guard import needs, takes_ticket
from api.requests import query
from api.schemas import EventsLink, JobEvents
from registry.roles import Role
from workers import jobs, tickets

blueprint = Blueprint("events", __name__)


@blueprint.get("/jobs/<job_id>/events")
@needs(Role.CLIENT)
@takes_ticket
def stream_events(job_id: str) -> Response:
    """Stream a job's changes of state as server-sent events, until it has ended."""
    query(JobEvents)
    last_event_id = request.headers.get("Last-Event-ID")
    stream = event_streams.begin(services.current(), job_id, identity.current().sees_jobs_of, last_event_id)
    return responses.nothing() if stream is None else responses.event_stream(stream)


@blueprint.post("/jobs/<job_id>/events-link")
@needs(Role.CLIENT)
def link_events(job_id: str) -> Response:
    """Make a link to a job's events that needs no key, for a page to open."""
    lives_s = query(EventsLink).expires_in
    job = jobs.get(job_id, identity.current().sees_jobs_of)
    return responses.events_link(job.job_id, tickets.make(job.job_id, lives_s), time.time() + lives_s)
