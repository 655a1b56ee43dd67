"""Responses about jobs: a job as it stands, its events, and links to these."""

from __future__ import annotations

from urllib.parse import quote

from flask import Response, request

from api.http.prefix import address
from api.http.responses import document
from api.jobs.events import Stream
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


def job(found: JobView) -> Response:
    """Return a job; one that has not ended with the time after which to ask again."""
    return document(found.document(), 200, retry_after(found))


def event_stream(stream: Stream) -> Response:
    """Return server-sent events as they come. A request for the headers alone gets no events."""
    response = Response(iter(stream), headers=_EVENT_STREAM)
    response.call_on_close(stream.close)
    if request.method == "HEAD":
        response.close()  # the server doesn't
    return response


def events_link(job_id: str, ticket: str, expires_at: float) -> Response:
    """Return the address of a job's events that needs no key."""
    url = address(f"/jobs/{quote(job_id, safe='')}/events?ticket={ticket}")
    content = {"url": url, "expires_at": records.iso(expires_at)}
    return document(content, 201, {"Location": url, "Cache-Control": "no-store"})
