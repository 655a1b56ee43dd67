"""Responses about jobs: a job as it stands, its events, and links to these."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import quote

from flask import Response

from api.http.exchange import Answer
from api.http.flask_app.prefix import address
from api.http.flask_app.responses import document, json_answer
from api.predictions.responses import retry_after
from workers.jobs import records
from workers.jobs.query import JobView

#: For caches, for nginx (which would buffer the events), and for a browser that opens the address as a page.
_EVENT_STREAM = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "Referrer-Policy": "no-referrer",
}


def job(found: JobView) -> Answer:
    """Return a job; one that has not ended with the time after which to ask again."""
    return json_answer(found.document(with_traceback=True), 200, retry_after(found))


def event_stream(frames: AsyncIterator[bytes]) -> Answer:
    """Return server-sent events as they come."""
    return Answer(200, dict(_EVENT_STREAM), stream=frames)


def events_link(job_id: str, ticket: str, expires_at: float) -> Response:
    """Return the address of a job's events that needs no key."""
    url = address(f"/jobs/{quote(job_id, safe='')}/events?ticket={ticket}")
    content = {"url": url, "expires_at": records.iso(expires_at)}
    return document(content, 201, {"Location": url, "Cache-Control": "no-store"})
