"""What a model is called in the protocol: an endpoint, or else a model of the registry."""

from __future__ import annotations

from sqlalchemy.orm import Session

from api import identity
from api.errors import EndpointNotDeployed
from api.services import Services
from registry import deployments
from registry.deployments import DesiredDeployment, Intent
from registry.errors import DeploymentNotFound


def serving(services: Services, name: str, version: str | None) -> DesiredDeployment:
    """Return the deployment that answers to this name: the endpoint, or the latest deployed version of the model.

    Raises:
        EndpointNotDeployed: nothing that is called so takes jobs, or not in this version.
        EndpointForbidden: it is none of the caller's.
    """

    def read() -> DesiredDeployment:
        with services.database.session() as session:
            return _find(session, name, version)

    found = services.cache.get(("v2", name, version), read)
    identity.current().check_endpoint(found.endpoint_name)
    return found


def _find(session: Session, name: str, version: str | None) -> DesiredDeployment:
    endpoint = deployments.find(session, name)
    if endpoint is not None and endpoint.intent is Intent.SERVE and version in (None, endpoint.version):
        return endpoint
    try:
        return deployments.resolve(session, name, version)
    except DeploymentNotFound as error:
        what = f"version {version} of {name!r}" if version else f"{name!r}"
        # The first words are those that clients of other servers look for.
        raise EndpointNotDeployed(
            f"Request for unknown model: {what} is not loaded; no endpoint and no deployed model is called so. "
            "POST /v2/repository/index lists what there is; POST /v2/repository/models/<name>/load loads a model.",
            {"model_name": name, "version": version},
        ) from error
