"""Routes of evaluations: create, show, cancel and delete."""

from __future__ import annotations

from flask import Blueprint, Response

from api.evaluations import service
from api.evaluations.schemas import EvaluationDetails, EvaluationFilter, Evaluations, EvaluationView, NewEvaluation
from api.http.flask_app import responses
from api.http.flask_app.requests import body, query
from api.http.route import Operation
from api.process import services
from registry.roles import Role

blueprint = Blueprint("evaluations", __name__, url_prefix="/evaluations")
_EXAMPLE = {"endpoint_name": "classifier_prod", "version": "7", "since": "24h", "max_jobs": 2000, "control": 0.1}


@blueprint.post("")
@Operation(
    Role.OPERATOR,
    "Evaluations",
    {201: EvaluationView},
    body=NewEvaluation,
    errors=(404, 409, 503, 507),
    example=_EXAMPLE,
)
def create_evaluation() -> Response:
    """Replay jobs of an endpoint on a candidate version, and compare the answers."""
    found = service.create(services.current(), body(NewEvaluation))
    return responses.created(found, f"/evaluations/{found['evaluation_id']}")


@blueprint.get("")
@Operation(Role.OPERATOR, "Evaluations", {200: Evaluations}, query=EvaluationFilter, errors=(503,))
def list_evaluations() -> Response:
    """List the newest evaluations, newest first, without their reports."""
    found = service.list_all(services.current(), query(EvaluationFilter).endpoint_name)
    return responses.document({"evaluations": found})


@blueprint.get("/<evaluation_id>")
@Operation(Role.OPERATOR, "Evaluations", {200: EvaluationDetails}, errors=(404, 503))
def show_evaluation(evaluation_id: str) -> Response:
    """Show an evaluation: its progress, and its report once it has succeeded."""
    return responses.document(service.show(services.current(), evaluation_id))


@blueprint.delete("/<evaluation_id>")
@Operation(Role.OPERATOR, "Evaluations", {200: EvaluationView, 204: None}, errors=(404, 409, 503, 507))
def remove_evaluation(evaluation_id: str) -> Response:
    """Cancel an evaluation that has not ended (200), or delete one that has ended, with its report (204)."""
    found = service.remove(services.current(), evaluation_id)
    return responses.nothing() if found is None else responses.document(found)
