"""Routes of deployments: deploy, configure, roll back, undeploy and show them."""

from __future__ import annotations

from flask import Blueprint, Response

from api.deployments import service
from api.deployments import stats as deployment_stats
from api.deployments.responses import changed, deployed, undeployed
from api.deployments.schemas import (
    Configure,
    Deploy,
    DeploymentHistory,
    Deployments,
    DeploymentStats,
    DeploymentView,
    HistoryQuery,
    Rollback,
    StatsQuery,
    Undeploy,
)
from api.http.flask_app import responses
from api.http.flask_app.requests import body, prefer_wait_s, query
from api.http.route import Operation
from api.process import services
from registry.roles import Role

blueprint = Blueprint("deployments", __name__, url_prefix="/deployments")


@blueprint.post("/deploy")
@Operation(
    Role.OPERATOR,
    "Deployments",
    {201: DeploymentView, 202: DeploymentView},
    body=Deploy,
    errors=(404, 409, 503, 507),
    takes_prefer_wait=True,
    example={"model_name": "binary_classifier", "version": "1", "endpoint_name": "classifier_prod"},
)
def deploy() -> Response:
    """Deploy a model version; on an existing endpoint, swap to it."""
    here = services.current()
    wait_s = prefer_wait_s(here.settings.max_wait_s)
    return deployed(service.deploy(here, body(Deploy), wait_s), wait_s)


@blueprint.post("/undeploy")
@Operation(
    Role.OPERATOR,
    "Deployments",
    {200: Deployments, 202: Deployments},
    body=Undeploy,
    errors=(404, 409, 503, 507),
    takes_prefer_wait=True,
    example={"endpoint_name": "classifier_prod", "backlog": "drain"},
)
def undeploy() -> Response:
    """Take down an endpoint, or every deployment of a model (version)."""
    here = services.current()
    wait_s = prefer_wait_s(here.settings.max_wait_s)
    return undeployed(service.undeploy(here, body(Undeploy), wait_s), wait_s)


@blueprint.get("")
@Operation(Role.OPERATOR, "Deployments", {200: Deployments}, errors=(503,))
def list_deployments() -> Response:
    """List the deployments."""
    found = service.observe(services.current())
    return responses.own_document({"deployments": found.views, "workers": service.worker_memories(found.workers)})


@blueprint.get("/<endpoint_name>")
@Operation(Role.OPERATOR, "Deployments", {200: DeploymentView}, errors=(404, 503))
def show_deployment(endpoint_name: str) -> Response:
    """Show one deployment."""
    return responses.document(service.show(services.current(), endpoint_name))


@blueprint.patch("/<endpoint_name>")
@Operation(
    Role.OPERATOR,
    "Deployments",
    {200: DeploymentView, 202: DeploymentView},
    body=Configure,
    errors=(404, 409, 503, 507),
    takes_prefer_wait=True,
    example={"hosts": 2, "max_memory_mb": None},
)
def configure_deployment(endpoint_name: str) -> Response:
    """Change settings or the group of a deployment, never its version."""
    here = services.current()
    wait_s = prefer_wait_s(here.settings.max_wait_s)
    return changed(service.configure(here, endpoint_name, body(Configure), wait_s), wait_s)


@blueprint.get("/<endpoint_name>/history")
@Operation(Role.OPERATOR, "Deployments", {200: DeploymentHistory}, query=HistoryQuery, errors=(404, 503))
def show_history(endpoint_name: str) -> Response:
    """Show the changes of a deployment, newest first: who made each, when, what changed, and the outcome."""
    return responses.document(service.history_of(services.current(), endpoint_name, query(HistoryQuery).limit))


@blueprint.post("/<endpoint_name>/rollback")
@Operation(
    Role.OPERATOR,
    "Deployments",
    {200: DeploymentView, 202: DeploymentView},
    body=Rollback,
    errors=(404, 409, 503, 507),
    takes_prefer_wait=True,
    example={"to_revision": 3},
)
def roll_back(endpoint_name: str) -> Response:
    """Serve again what the deployment was at an earlier revision."""
    here = services.current()
    wait_s = prefer_wait_s(here.settings.max_wait_s)
    return changed(service.rollback(here, endpoint_name, body(Rollback), wait_s), wait_s)


@blueprint.get("/<endpoint_name>/stats")
@Operation(Role.OPERATOR, "Deployments", {200: DeploymentStats}, query=StatsQuery, errors=(404, 503))
def show_stats(endpoint_name: str) -> Response:
    """Show a deployment's jobs, failures, times and queue depth of the last hour or day, in steps."""
    return responses.document(deployment_stats.stats(services.current(), endpoint_name, query(StatsQuery).since_s))
