"""Routes of the journal: read jobs with inputs and outcomes, see how much is kept, forget jobs."""

from __future__ import annotations

from flask import Blueprint, Response

from api.http.flask_app import responses
from api.http.flask_app.requests import query
from api.http.route import Operation
from api.journal import service
from api.journal.schemas import Forget, Forgotten, JournalJob, JournalKept, JournalQuery
from api.process import services
from registry.roles import Role

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
    """Forget jobs of an endpoint, by id, owner or time."""
    return responses.document({"forgotten_count": service.forget(services.current(), endpoint_name, query(Forget))})


@blueprint.delete("/journal")
@Operation(Role.ADMIN, "Journal", {200: Forgotten}, query=Forget, errors=(503, 507))
def forget_jobs() -> Response:
    """Forget jobs of all endpoints, by id, owner or time."""
    return responses.document({"forgotten_count": service.forget(services.current(), None, query(Forget))})
