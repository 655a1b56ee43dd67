"""Answers that are not errors: status, headers, and the JSON of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import Response, request
from werkzeug.datastructures import Headers

from api.deploying import all_down
from api.event_streams import Stream
from api.submitting import Submitted
from api.submitting_many import SubmittedMany
from workers import documents, fast_json
from workers.jobs import Job, JobState
from workers.status import retry_after_s

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


#: For caches, for nginx (which would gather the events), and for whoever opens the stream's address as a page.
_EVENT_STREAM = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "Referrer-Policy": "no-referrer",
}


class _Complete(Response):
    """An answer whose headers are sent as they are; looking whether any is missing takes as long as the rest."""

    def get_wsgi_headers(self, _environ: WSGIEnvironment) -> Headers:
        """Return the headers."""
        return self.headers


def document(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return JSON; a NaN in it is an error here, not at the client."""
    text = fast_json.strict(content) + b"\n"
    return _Complete(
        text, status, {"Content-Type": "application/json", "Content-Length": str(len(text)), **(headers or {})}
    )


def nothing() -> Response:
    """Return 204."""
    return Response(status=204)


def event_stream(stream: Stream) -> Response:
    """Return server-sent events as they come. What asks for the headers alone gets no events."""
    response = Response(iter(stream), headers=_EVENT_STREAM)
    response.call_on_close(stream.close)
    if request.method == "HEAD":
        response.close()  # nobody will
    return response


def events_link(job_id: str, ticket: str, expires_at: float) -> Response:
    """Return where a job's events are, for whoever has no key."""
    url = f"/jobs/{quote(job_id, safe='')}/events?ticket={ticket}"
    content = {"url": url, "expires_at": documents.iso(expires_at)}
    return document(content, 201, {"Location": url, "Cache-Control": "no-store"})


def created(content: Mapping[str, Any], location: str) -> Response:
    """Return 201 and where the new thing is."""
    return document(content, 201, {"Location": location})


def submitted(result: Submitted, wait_s: float | None) -> Response:
    """Return the outcome if the job has one by now (200), or where it will be (202)."""
    job, deployment = result.job, result.deployment
    url = f"/jobs/{job.job_id}"
    headers = {"Location": url, **_preference_applied(wait_s)}
    if job.state is JobState.SUCCEEDED:
        return document({"job_id": job.job_id, **(job.outcome or {})}, 200, headers)
    accepted = {
        "job_id": job.job_id,
        "status": job.state.value,
        "endpoint_name": deployment.endpoint_name,
        "model_name": deployment.model_name,
        "version": deployment.version,
        "url": url,
        "queue": None if job.place is None else job.place.document(),
    }
    return document(accepted, 202, {**headers, **_retry_after(job)})


def job(found: Job) -> Response:
    """Return a job; of one that has not ended, with when to ask again."""
    return document(found.document(), 200, {} if found.state.terminal else _retry_after(found))


def _retry_after(job: Job) -> dict[str, str]:
    return {} if job.state.terminal else {"Retry-After": str(retry_after_s(job))}


def submitted_many(result: SubmittedMany) -> Response:
    """Return the ids of the jobs, in the order of the request."""
    deployment, last = result.deployment, result.last
    accepted = {
        "job_ids": result.job_ids,
        "count": len(result.job_ids),
        "endpoint_name": deployment.endpoint_name,
        "model_name": deployment.model_name,
        "version": deployment.version,
        "url": f"/jobs?endpoint_name={deployment.endpoint_name}",
        "queue": None if last.place is None else last.place.document(),
    }
    return document(accepted, 202, _retry_after(last))


def deployed(view: Mapping[str, Any], wait_s: float | None) -> Response:
    """Return 201 once the deployment is active and the caller waited for it, otherwise 202."""
    headers = {"Location": f"/deployments/{view['endpoint_name']}", **_preference_applied(wait_s)}
    return document(view, 201 if wait_s and view["status"] == "active" else 202, headers)


def undeployed(views: list[dict[str, Any]], wait_s: float | None) -> Response:
    """Return 200 once nothing of it runs any more, 202 while it winds down."""
    return document({"deployments": views}, 200 if all_down(views) else 202, _preference_applied(wait_s))


def _preference_applied(wait_s: float | None) -> dict[str, str]:
    return {} if wait_s is None else {"Preference-Applied": f"wait={wait_s:g}"}
