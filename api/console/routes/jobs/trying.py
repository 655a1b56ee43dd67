"""Pages to try an endpoint with an input."""

from __future__ import annotations

from flask import Blueprint, render_template, request

from api.auth import identity
from api.auth.sessions import for_role
from api.console import trying, views
from api.console.trying import Form
from api.predictions import service as prediction_service
from api.process import services
from registry.deployments import DesiredDeployment
from registry.roles import Role
from workers.queues.priorities import Priority

blueprint = Blueprint("trying", __name__, url_prefix="/try")


@blueprint.get("")
@for_role(Role.CLIENT)
def list_endpoints() -> str:
    """List the endpoints that can be tried."""
    return render_template("console/endpoints.html", endpoints=views.open_endpoints(services.current()))


@blueprint.get("/<endpoint_name>")
@for_role(Role.CLIENT)
def try_form(endpoint_name: str) -> str:
    """Show a form with the model's example."""
    page, _ = _page(trying.blank(_serving(endpoint_name)))
    return page


@blueprint.post("/<endpoint_name>")
@for_role(Role.CLIENT)
def submit(endpoint_name: str) -> tuple[str, int]:
    """Submit the typed input, and show the job in place."""
    return _page(trying.submit(services.current(), _serving(endpoint_name), request.form))


def _page(form: Form) -> tuple[str, int]:
    signature = form.deployment.signature.document()
    page = render_template("console/try.html", form=form, signature=signature, priorities=list(Priority), job=form.job)
    return page, form.status


def _serving(endpoint_name: str) -> DesiredDeployment:
    return prediction_service.serving_endpoint(services.current(), identity.current(), endpoint_name)
