"""Routes of the journal: read jobs with inputs and outcomes, see how much is kept, forget jobs."""

from __future__ import annotations

from flask import Blueprint, Response

from api.auth import identity
from api.http.flask_app import bodies, requests, responses
from api.http.flask_app.requests import body, query
from api.http.ndjson import elements
from api.http.route import Operation
from api.journal import feedback, service
from api.journal.schemas import (
    FeedbackOfJob,
    Forget,
    Forgotten,
    GivenFeedback,
    JournalJob,
    JournalKept,
    JournalQuery,
    ManyGiven,
    NewFeedback,
)
from api.process import services
from registry.roles import Role

#: The most feedback in one call, and the most jobs of it that are named as unknown.
MOST_FEEDBACK, MOST_UNKNOWN_SHOWN = 100_000, 1_000

blueprint = Blueprint("journal", __name__)

#: Header: the position behind which the next page begins; absent on the last page.
CURSOR_HEADER = "Queuecast-Cursor"
MEDIA_TYPES = {"ndjson": "application/x-ndjson", "parquet": "application/vnd.apache.parquet"}


@blueprint.get("/deployments/<endpoint_name>/journal")
@Operation(
    Role.OPERATOR,
    "Journal",
    {200: JournalJob},
    query=JournalQuery,
    errors=(404, 503),
    media_types=tuple(MEDIA_TYPES.values()),
)
def read_journal(endpoint_name: str) -> Response:
    """Read ended jobs with inputs and outcomes, oldest first; `Queuecast-Cursor` is the cursor of the next page."""
    wanted = query(JournalQuery)
    page = service.page(services.current(), endpoint_name, wanted)
    headers = {} if page.cursor is None else {CURSOR_HEADER: page.cursor}
    return Response(page.content, headers=headers, content_type=MEDIA_TYPES[wanted.format])


@blueprint.get("/deployments/<endpoint_name>/journal/kept")
@Operation(Role.OPERATOR, "Journal", {200: JournalKept}, errors=(404, 503))
def show_kept(endpoint_name: str) -> Response:
    """Show how many jobs of an endpoint the journal keeps, their bytes, and of which time they are."""
    return responses.document(service.show(services.current(), endpoint_name))


@blueprint.delete("/deployments/<endpoint_name>/journal")
@Operation(Role.ADMIN, "Journal", {200: Forgotten}, query=Forget, errors=(404, 503, 507))
def forget_jobs_of_endpoint(endpoint_name: str) -> Response:
    """Forget jobs of an endpoint, by id, owner or time, also as examples in reports."""
    return responses.document(service.forget(services.current(), endpoint_name, query(Forget)))


@blueprint.delete("/journal")
@Operation(Role.ADMIN, "Journal", {200: Forgotten}, query=Forget, errors=(503, 507))
def forget_jobs() -> Response:
    """Forget jobs of all endpoints, by id, owner or time, also as examples in reports."""
    return responses.document(service.forget(services.current(), None, query(Forget)))


@blueprint.post("/jobs/<job_id>/feedback")
@Operation(
    Role.CLIENT,
    "Journal",
    {202: GivenFeedback},
    body=NewFeedback,
    errors=(404, 503),
    example={"truth": "malignant"},
)
def give_feedback(job_id: str) -> Response:
    """Say what is right for a job that the journal keeps; the latest feedback on a job counts."""
    endpoint_name = feedback.give(services.current(), identity.current(), job_id, body(NewFeedback))
    return responses.document({"job_id": job_id, "endpoint_name": endpoint_name}, status=202)


@blueprint.post("/feedback")
@Operation(
    Role.CLIENT,
    "Journal",
    {202: ManyGiven},
    body=FeedbackOfJob,
    errors=(503,),
    max_elements=MOST_FEEDBACK,
    example=[{"job_id": "82776c54-76a5-4b79-b99d-501c4a52d575", "truth": "malignant"}],
)
def give_much_feedback() -> Response:
    """Say what is right for many jobs: a JSON array, or one JSON object a line."""
    given = feedback.give_many(
        services.current(), identity.current(), elements(bodies.content(), requests.current().media_type)
    )
    unknown = given.unknown[:MOST_UNKNOWN_SHOWN]
    counts = {"accepted_count": given.accepted, "unknown_count": len(given.unknown), "unknown_job_ids": unknown}
    return responses.document(counts, status=202)
