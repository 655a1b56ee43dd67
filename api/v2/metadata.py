"""What the protocol wants to know of the server and of a model: metadata, readiness, configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.auth import identity
from api.process.services import Services
from api.v2 import naming
from api.v2.inputs import fields_of
from api.v2.outputs import described, parameters_of
from registry import deployments
from registry.deployments import DesiredDeployment
from registry.signatures.output_columns import OutputDescription
from workers.deployments import status
from workers.measures.reports import HostsState
from workers.platform.release import release

View = Mapping[str, Any]
SERVER_NAME = "queuecast"
EXTENSIONS = (
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "parameters",
    "schedule_policy",
    "statistics",
)
#: The configuration's names of datatypes differ from those of everything else.
_CONFIG_TYPES = {"BYTES": "TYPE_STRING"}


def server() -> dict[str, Any]:
    """Return the server's name, version and extensions of the protocol."""
    return {"name": SERVER_NAME, "version": release(), "extensions": list(EXTENSIONS)}


def model(services: Services, name: str, version: str | None) -> dict[str, Any]:
    """Return a model's versions, inputs and outputs.

    The outputs are those that the input example had when a worker loaded the model: there are none while none has
    it loaded, or if it has no example.

    Raises:
        EndpointNotDeployed: nothing that is called so takes jobs.
        QueueUnavailable: Redis can't be reached.
    """
    deployment = naming.serving(services, identity.current(), name, version)
    return {
        "name": name,
        "versions": _versions(services, name, deployment),
        "platform": _platform(deployment),
        "inputs": _inputs(deployment),
        "outputs": [
            {**described(each["name"], each["dtype"], each["shape"]), **_with_parameters(each)}
            for each in _outputs(deployment)
        ],
    }


def ready(services: Services, name: str, version: str | None) -> bool:
    """Tell whether some worker has the model loaded, or loads it for the next job, in this version if one is named.

    Raises:
        EndpointNotDeployed: nothing that is called so takes jobs.
        QueueUnavailable: Redis can't be reached.
    """
    [view] = status.views([naming.serving(services, identity.current(), name, version)])
    return is_ready(view) if version is None else any(_serves(each, version) for each in view["workers"])


def is_ready(view: View) -> bool:
    """Tell whether some worker answers for this deployment; during a swap that may be with the version before."""
    serves = any(each["state"] == HostsState.READY for each in view["workers"])
    return serves or view["status"] in (status.ASLEEP, status.LOADING)


def config(services: Services, name: str, version: str | None) -> dict[str, Any]:
    """Return the deployment as a model configuration.

    Raises:
        EndpointNotDeployed: nothing that is called so takes jobs.
        QueueUnavailable: Redis can't be reached.
    """
    deployment = naming.serving(services, identity.current(), name, version)
    settings = deployment.settings
    outputs = [described(each["name"], each["dtype"], each["shape"]) for each in _outputs(deployment)]
    return {
        "name": name,
        "platform": _platform(deployment),
        "backend": deployment.runtime,
        "version_policy": {"specific": {"versions": [deployment.version]}},
        "max_batch_size": settings.batch_rows,
        "input": [_configured(each) for each in _inputs(deployment)],
        "output": [_configured(each) for each in outputs],
        "instance_group": [{"name": deployment.endpoint_name, "kind": "KIND_CPU", "count": settings.most_hosts}],
        "dynamic_batching": {"max_queue_delay_microseconds": round(settings.max_batch_delay_ms * 1000)},
        "parameters": {
            "endpoint_name": {"string_value": deployment.endpoint_name},
            "worker_group": {"string_value": deployment.worker_group},
        },
    }


def _versions(services: Services, name: str, deployment: DesiredDeployment) -> list[str]:
    if name == deployment.endpoint_name:
        return [deployment.version]
    with services.database.session() as session:
        found = deployments.serving(session, name, among=identity.current().endpoint_names)
    return list(dict.fromkeys(each.version for each in sorted(found, key=lambda each: each.deployed_at)))


def _platform(deployment: DesiredDeployment) -> str:
    return f"{SERVER_NAME}_{deployment.runtime}"


def _inputs(deployment: DesiredDeployment) -> list[dict[str, Any]]:
    """Return what clients send; optional inputs may be left out."""
    return [
        {
            **described(each.name, each.dtype, each.dims),
            "datatype": each.datatype,
            **({"parameters": each.parameters} if each.parameters else {}),
        }
        for each in fields_of(deployment.signature)
    ]


def _outputs(deployment: DesiredDeployment) -> list[OutputDescription]:
    [view] = status.views([deployment])
    known = [each.get("outputs") for each in view["workers"] if _serves(each, deployment.version)]
    return next((each for each in known if each), [])


def _serves(worker: View, version: str) -> bool:
    return worker["state"] in (HostsState.READY, HostsState.ASLEEP) and worker["version"] == version


def _with_parameters(output: OutputDescription) -> dict[str, Any]:
    parameters = parameters_of(output["keys"], as_json=output["as_json"])
    return {"parameters": dict(parameters)} if parameters else {}


def _configured(tensor: Mapping[str, Any]) -> dict[str, Any]:
    data_type = _CONFIG_TYPES.get(tensor["datatype"], f"TYPE_{tensor['datatype']}")
    is_optional = tensor.get("parameters", {}).get("required") is False
    optional = {"optional": True} if is_optional else {}
    return {"name": tensor["name"], "data_type": data_type, "dims": tensor["shape"][1:], **optional}
