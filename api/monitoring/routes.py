"""Routes of quality and drift."""

from __future__ import annotations

from flask import Blueprint, Response

from api.http.flask_app import responses
from api.http.flask_app.requests import query
from api.http.route import Operation
from api.monitoring import service
from api.monitoring.schemas import DriftView, QualityQuery, QualityView
from api.process import services
from registry.roles import Role

blueprint = Blueprint("monitoring", __name__, url_prefix="/deployments/<endpoint_name>")


@blueprint.get("/quality")
@Operation(Role.OPERATOR, "Journal", {200: QualityView}, query=QualityQuery, errors=(404, 503))
def show_quality(endpoint_name: str) -> Response:
    """Show how good the answers are by feedback: accuracy, or MAE and RMSE, by version and day."""
    return responses.document(service.show_quality(services.current(), endpoint_name, query(QualityQuery)))


@blueprint.get("/drift")
@Operation(Role.OPERATOR, "Journal", {200: DriftView}, errors=(404, 503))
def show_drift(endpoint_name: str) -> Response:
    """Show how inputs and answers of the last 24 hours differ from those of the version's first jobs in the journal."""
    return responses.document(service.show_drift(services.current(), endpoint_name))
