"""What a model is called in the protocol: an endpoint, or else a model of the registry."""

from __future__ import annotations

from sqlalchemy.orm import Session

from api.auth.identity import Identity
from api.errors import EndpointNotDeployed
from api.process.services import Services
from registry import deployments
from registry.deployments import DesiredDeployment, Intent
from registry.errors import DeploymentNotFound
from workers.deployments import snapshots


def serving(services: Services, caller: Identity, name: str, version: str | None) -> DesiredDeployment:
    """Return the deployment that answers to this name: the endpoint, or the latest deployed version of the model.

    Raises:
        EndpointNotDeployed: nothing that is called so takes jobs, or not in this version.
        EndpointForbidden: no endpoint of the caller has or serves this name, whether or not another one does.
    """

    def read() -> DesiredDeployment:
        with services.database.session() as session:
            return _find(session, name, version, caller)

    key = ("v2", name, version, caller.endpoint_names)
    return services.cache.get(key, read, lambda: _snapshot(name, version, caller))


def _snapshot(name: str, version: str | None, caller: Identity) -> DesiredDeployment | None:
    """Return what workers know of the endpoint of this name; of models only the registry knows the latest version."""
    found = snapshots.read(name) if caller.may_use(name) else None
    return found if found is not None and version in (None, found.version) else None


def _find(session: Session, name: str, version: str | None, caller: Identity) -> DesiredDeployment:
    endpoint = deployments.find(session, name) if caller.may_use(name) else None
    if endpoint is not None and endpoint.intent is Intent.SERVE and version in (None, endpoint.version):
        return endpoint
    try:
        return deployments.resolve(session, name, version, among=caller.endpoint_names)
    except DeploymentNotFound as error:
        if not caller.may_use(name):
            caller.check_model(name)
        what = f"version {version} of {name!r}" if version else f"{name!r}"
        # The first words are those that clients of other servers look for.
        raise EndpointNotDeployed(
            f"Request for unknown model: {what} is not loaded; no endpoint and no deployed model is called so. "
            "POST /v2/repository/index lists what there is; POST /v2/repository/models/<name>/load loads a model.",
            {"model_name": name, "version": version},
        ) from error
