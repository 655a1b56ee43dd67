"""The Open Inference Protocol: the addresses that clients of other servers know, over our own deployments."""

from __future__ import annotations

from flask import Blueprint, Response

from api import readiness, responses, services
from api.errors import Unsupported
from api.guard import needs, open_to_all
from api.requests import idempotency_key
from api.v2 import inferring, metadata, repository, statistics, wire
from api.v2.schemas import IndexRequest, LoadRequest, UnloadRequest
from registry.roles import Role

blueprint = Blueprint("v2", __name__, url_prefix="/v2")


@blueprint.get("")
@needs(Role.CLIENT)
def server() -> Response:
    """Tell the server's name, version and extensions."""
    return responses.document(metadata.server())


@blueprint.get("/health/live")
@open_to_all
def live() -> Response:
    """Tell that the process answers; asks nobody else."""
    return responses.document({"live": True})


@blueprint.get("/health/ready")
@open_to_all
def ready() -> Response:
    """Tell whether Redis and the registry database answer."""
    is_ready = readiness.check(services.current())["status"] == "ready"
    return responses.document({"ready": is_ready}, 200 if is_ready else 503)


@blueprint.get("/models/<name>")
@blueprint.get("/models/<name>/versions/<version>", endpoint="model_of_version")
@needs(Role.CLIENT)
def model(name: str, version: str | None = None) -> Response:
    """Show a model's versions, inputs and outputs."""
    return responses.document(metadata.model(services.current(), name, version))


@blueprint.get("/models/<name>/ready")
@blueprint.get("/models/<name>/versions/<version>/ready", endpoint="model_ready_of_version")
@needs(Role.CLIENT)
def model_ready(name: str, version: str | None = None) -> Response:
    """Tell whether a worker has the model loaded."""
    is_ready = metadata.ready(services.current(), name, version)
    return responses.document({"name": name, "ready": is_ready}, 200 if is_ready else 503)


@blueprint.get("/models/<name>/config")
@blueprint.get("/models/<name>/versions/<version>/config", endpoint="config_of_version")
@needs(Role.CLIENT)
def config(name: str, version: str | None = None) -> Response:
    """Show the deployment as a model configuration."""
    return responses.document(metadata.config(services.current(), name, version))


@blueprint.post("/models/<name>/infer")
@blueprint.post("/models/<name>/versions/<version>/infer", endpoint="infer_of_version")
@needs(Role.CLIENT)
def infer(name: str, version: str | None = None) -> Response:
    """Predict with all rows of the inputs as one job, and wait for its end."""
    result = inferring.infer(services.current(), name, version, wire.body(), idempotency_key())
    return wire.answer(result.content, result.outputs, result.binary)


@blueprint.get("/models/stats")
@needs(Role.OPERATOR)
def stats() -> Response:
    """Show the statistics of every deployment."""
    return responses.document(statistics.of_all(services.current()))


@blueprint.get("/models/<name>/stats")
@blueprint.get("/models/<name>/versions/<version>/stats", endpoint="model_stats_of_version")
@needs(Role.OPERATOR)
def model_stats(name: str, version: str | None = None) -> Response:
    """Show the statistics of a model."""
    return responses.document(statistics.of_model(services.current(), name, version))


@blueprint.post("/repository/index")
@needs(Role.OPERATOR)
def index() -> Response:
    """List endpoints and model versions with their states."""
    return responses.document(repository.index(services.current(), ready_only=wire.document(IndexRequest).ready))


@blueprint.post("/repository/models/<name>/load")
@needs(Role.OPERATOR)
def load(name: str) -> Response:
    """Deploy a model, and wait until it is ready."""
    repository.load(services.current(), name, wire.document(LoadRequest).parameters)
    return responses.document({})


@blueprint.post("/repository/models/<name>/unload")
@needs(Role.OPERATOR)
def unload(name: str) -> Response:
    """Undeploy a model; its queued jobs are finished first."""
    wire.document(UnloadRequest)
    repository.unload(services.current(), name)
    return responses.document({})


@blueprint.route("/trace/setting", methods=["GET", "POST"])
@blueprint.route("/models/<name>/trace/setting", methods=["GET", "POST"])
@blueprint.route("/logging", methods=["GET", "POST"])
@blueprint.route("/systemsharedmemory/<path:rest>", methods=["GET", "POST"])
@blueprint.route("/cudasharedmemory/<path:rest>", methods=["GET", "POST"])
@needs(Role.CLIENT)
def unsupported(**_: str) -> Response:
    """Say that this server doesn't have this part of the protocol."""
    raise Unsupported("This server has no trace settings, log settings or shared memory; GET /v2 lists what it has.")
