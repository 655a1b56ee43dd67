"""Deployments: deploy, undeploy, and what is desired and observed."""

from __future__ import annotations

from flask import Blueprint, Response

from api import deploying, responses, services
from api.guard import needs
from api.requests import body, prefer_wait_s
from api.schemas import Deploy, Undeploy
from registry.roles import Role

blueprint = Blueprint("deployments", __name__, url_prefix="/deployments")


@blueprint.post("/deploy")
@needs(Role.OPERATOR)
def deploy() -> Response:
    """Deploy a model version; on an existing endpoint, swap to it."""
    here = services.current()
    wait_s = prefer_wait_s(here.settings.max_wait_s)
    return responses.deployed(deploying.deploy(here, body(Deploy), wait_s), wait_s)


@blueprint.post("/undeploy")
@needs(Role.OPERATOR)
def undeploy() -> Response:
    """Take down an endpoint, or every deployment of a model (version)."""
    here = services.current()
    wait_s = prefer_wait_s(here.settings.max_wait_s)
    return responses.undeployed(deploying.undeploy(here, body(Undeploy), wait_s), wait_s)


@blueprint.get("")
@needs(Role.OPERATOR)
def list_deployments() -> Response:
    """List the deployments."""
    return responses.document({"deployments": deploying.list_all(services.current())})


@blueprint.get("/<endpoint_name>")
@needs(Role.OPERATOR)
def show_deployment(endpoint_name: str) -> Response:
    """Show one deployment."""
    return responses.document(deploying.show(services.current(), endpoint_name))
