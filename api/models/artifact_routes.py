"""Routes of the artifact store: delete what nothing needs."""

from __future__ import annotations

from flask import Blueprint, Response

from api.http.flask_app import responses
from api.http.flask_app.requests import body
from api.http.route import Operation
from api.models import pruning
from api.models.pruning import Prune, PruneReport
from api.process import services
from registry.roles import Role

blueprint = Blueprint("artifacts", __name__, url_prefix="/artifacts")


@blueprint.post("/prune")
@Operation(
    Role.ADMIN,
    "Models",
    {200: PruneReport},
    body=Prune,
    errors=(409, 503),
    example={"dry_run": True},
)
def prune() -> Response:
    """Delete artifacts and environments that nothing needs, and what broken uploads have left."""
    return responses.document(pruning.prune(services.current(), body(Prune)))
