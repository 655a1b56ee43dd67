"""Health: is the process alive, and could it answer requests now."""

from __future__ import annotations

from flask import Blueprint, Response

from api import readiness, responses, services
from api.guard import open_to_all

blueprint = Blueprint("health", __name__, url_prefix="/health")


@blueprint.get("/live")
@open_to_all
def live() -> Response:
    """Tell that the process answers; asks nobody else."""
    return responses.document({"status": "live"})


@blueprint.get("/ready")
@open_to_all
def ready() -> Response:
    """Tell whether Redis and the registry database answer, each by itself."""
    state = readiness.check(services.current())
    return responses.document(state, 200 if state["status"] == "ready" else 503)
