"""Models and their versions."""

from __future__ import annotations

from flask import Blueprint, render_template

from api.auth.sessions import for_role
from api.console import views
from api.models import service as model_service
from api.process import services
from registry.roles import Role

blueprint = Blueprint("models", __name__, url_prefix="/models")


@blueprint.get("")
@for_role(Role.OPERATOR)
def list_models() -> str:
    """List the models."""
    return render_template("console/models.html", models=model_service.list_models(services.current()))


@blueprint.get("/<model_name>")
@for_role(Role.OPERATOR)
def show_model(model_name: str) -> str:
    """Show a model's versions."""
    return render_template("console/model.html", **views.model(services.current(), model_name))
