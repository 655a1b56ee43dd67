"""Metrics of the service, in Prometheus's format."""

from __future__ import annotations

from flask import Blueprint, Response, request

from api import metrics
from api.guard import needs
from registry.roles import Role

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
@needs(Role.OPERATOR)
def show_metrics() -> Response:
    """Show the metrics of the whole service, for Prometheus."""
    content, media_type = metrics.scrape(request.headers.get("Accept", ""))
    return Response(content, content_type=media_type)
