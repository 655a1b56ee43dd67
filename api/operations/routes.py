"""Routes about the service itself: health, metrics, the OpenAPI document and the page that shows it."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.http import responses
from api.http.route import OPEN, Access, Operation
from api.openapi import document
from api.operations import metrics, readiness
from api.operations.schemas import Document, Live, Metrics, Ready
from api.process import services
from registry.roles import Role

health_blueprint = Blueprint("health", __name__, url_prefix="/health")
metrics_blueprint = Blueprint("metrics", __name__)
openapi_blueprint = Blueprint("openapi", __name__)
docs_blueprint = Blueprint("docs", __name__)
#: The documentation page may run its own script and call this API, and nothing else.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


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


@docs_blueprint.get("/docs")
@Access(OPEN)
def docs() -> Response:
    """Show the documentation page."""
    response = Response(_page(), mimetype="text/html")
    response.headers["Content-Security-Policy"] = _POLICY
    return response


@docs_blueprint.get("/")
@Access(OPEN)
def home() -> AnyResponse:
    """Lead a browser to the documentation."""
    return redirect(url_for(".docs") if request.script_root else "docs")


@lru_cache(maxsize=1)
def _page() -> bytes:
    return files("api.operations").joinpath("static", "docs.html").read_bytes()
