"""The OpenAPI document, made from the registry each time it is asked for."""

from __future__ import annotations

from flask import Blueprint, Response

from api import responses, services
from api.guard import needs
from api.openapi import document
from registry.roles import Role

blueprint = Blueprint("openapi", __name__)


@blueprint.get("/openapi.json")
@needs(Role.CLIENT)
def openapi() -> Response:
    """Describe every route and every endpoint that takes predictions."""
    return responses.document(document.describe(services.current()), headers={"Cache-Control": "no-store"})
