"""Pages of the history of a deployment, and of the way back to an earlier revision."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.auth.sessions import for_role
from api.console import forms
from api.deployments import service as deployment_service
from api.process import services
from registry.history import KEPT_REVISIONS
from registry.roles import Role

blueprint = Blueprint("history", __name__)


@blueprint.get("/deployments/<endpoint_name>/history")
@for_role(Role.OPERATOR)
def show_history(endpoint_name: str) -> str:
    """Show the changes of a deployment, newest first."""
    found = deployment_service.history_of(services.current(), endpoint_name, KEPT_REVISIONS)
    return render_template("console/history.html", history=found)


@blueprint.get("/deployments/<endpoint_name>/rollback")
@for_role(Role.OPERATOR)
def review_rollback(endpoint_name: str) -> str:
    """Show the effect of a rollback to a revision, and ask for confirmation."""
    wanted = forms.rollback(request.args)
    found = deployment_service.rollback_preview(services.current(), endpoint_name, wanted.to_revision)
    return render_template("console/rollback.html", endpoint_name=endpoint_name, **found)


@blueprint.post("/deployments/<endpoint_name>/rollback")
@for_role(Role.OPERATOR)
def roll_back(endpoint_name: str) -> AnyResponse:
    """Roll back, unless the deployment has changed since it was shown."""
    deployment_service.rollback(services.current(), endpoint_name, forms.rollback(request.form), None)
    return redirect(url_for("console.deployments.show_deployment", endpoint_name=endpoint_name, done="deploy"), 303)
