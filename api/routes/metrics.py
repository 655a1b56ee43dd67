"""Metrics of the service, in Prometheus's format."""

from __future__ import annotations

from flask import Blueprint, Response, request

from api import metrics

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
def show_metrics() -> Response:
    """Show the metrics of the whole service, for Prometheus."""
    content, media_type = metrics.scrape(request.headers.get("Accept", ""))
    return Response(content, content_type=media_type)
