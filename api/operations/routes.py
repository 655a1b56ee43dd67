"""Routes about the service itself: health, metrics and the OpenAPI document."""

from __future__ import annotations

from flask import Blueprint, Response, request

from api.http.flask_app import responses
from api.http.route import OPEN, Operation
from api.openapi import document
from api.operations import metrics, readiness
from api.operations.schemas import Document, Live, Metrics, Ready
from api.process import services
from registry.roles import Role

health_blueprint = Blueprint("health", __name__, url_prefix="/health")
metrics_blueprint = Blueprint("metrics", __name__)
openapi_blueprint = Blueprint("openapi", __name__)


@health_blueprint.get("/live")
@Operation(OPEN, "Health", {200: Live})
def live() -> Response:
    """Tell that the process answers, whatever the state of its services."""
    return responses.document({"status": "live"})


@health_blueprint.get("/ready")
@Operation(OPEN, "Health", {200: Ready, 503: Ready})
def ready() -> Response:
    """Tell whether Redis and the registry database answer, each by itself."""
    state = readiness.check(services.current())
    return responses.document(state, 200 if state["status"] == "ready" else 503)


@metrics_blueprint.get("/metrics")
@Operation(Role.OPERATOR, "Health", {200: Metrics}, media_types=("text/plain", "application/openmetrics-text"))
def show_metrics() -> Response:
    """Show the metrics of the whole service, for Prometheus."""
    content, media_type = metrics.scrape(request.headers.get("Accept", ""))
    return Response(content, content_type=media_type)


@openapi_blueprint.get("/openapi.json")
@Operation(Role.CLIENT, "Health", {200: Document}, errors=(503,))
def openapi() -> Response:
    """Describe every route and every endpoint that takes predictions."""
    return responses.document(document.describe(services.current()), headers={"Cache-Control": "no-store"})
