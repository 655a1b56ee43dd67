"""Routes of the Open Inference Protocol, which clients of other servers use, over our own deployments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response
from pydantic import BaseModel

from api.edge.call import Call, Rest, hot
from api.errors import Unsupported
from api.http.flask_app import responses
from api.http.route import OPEN, Access, Operation
from api.operations import readiness
from api.process import services
from api.v2 import inference, metadata, repository, statistics, wire
from api.v2.schemas import (
    IndexRequest,
    InferRequest,
    LoadRequest,
    UnloadRequest,
    V2Config,
    V2Done,
    V2Error,
    V2Index,
    V2Inference,
    V2Live,
    V2Model,
    V2ModelReady,
    V2Ready,
    V2Server,
    V2Statistics,
)
from registry.roles import Role

TAG = "Open Inference Protocol"
blueprint = Blueprint("v2", __name__, url_prefix="/v2")


def _operation(role: Role | None, answers: Mapping[int, type[BaseModel]], **declared: Any) -> Operation:
    """Return the declaration of one of the protocol's routes, whose errors are in its own words."""
    return Operation(role, TAG, answers, error_body=V2Error, **declared)


@blueprint.get("")
@_operation(Role.CLIENT, {200: V2Server})
def server() -> Response:
    """Tell the server's name, version and extensions."""
    return responses.document(metadata.server())


@blueprint.get("/health/live")
@_operation(OPEN, {200: V2Live})
def live() -> Response:
    """Tell that the process answers, whatever the state of its services."""
    return responses.document({"live": True})


@blueprint.get("/health/ready")
@_operation(OPEN, {200: V2Ready, 503: V2Ready})
def ready() -> Response:
    """Tell whether Redis and the registry database answer."""
    is_ready = readiness.check(services.current())["status"] == "ready"
    return responses.document({"ready": is_ready}, 200 if is_ready else 503)


@blueprint.get("/models/<name>")
@blueprint.get("/models/<name>/versions/<version>", endpoint="model_of_version")
@_operation(Role.CLIENT, {200: V2Model}, errors=(404, 503))
def model(name: str, version: str | None = None) -> Response:
    """Show a model's versions, inputs and outputs."""
    return responses.document(metadata.model(services.current(), name, version))


@blueprint.get("/models/<name>/ready")
@blueprint.get("/models/<name>/versions/<version>/ready", endpoint="model_ready_of_version")
@_operation(Role.CLIENT, {200: V2ModelReady, 503: V2ModelReady}, errors=(404, 503))
def model_ready(name: str, version: str | None = None) -> Response:
    """Tell whether a worker has the model loaded."""
    is_ready = metadata.ready(services.current(), name, version)
    return responses.document({"name": name, "ready": is_ready}, 200 if is_ready else 503)


@blueprint.get("/models/<name>/config")
@blueprint.get("/models/<name>/versions/<version>/config", endpoint="config_of_version")
@_operation(Role.CLIENT, {200: V2Config}, errors=(404, 503))
def config(name: str, version: str | None = None) -> Response:
    """Show the deployment as a model configuration."""
    return responses.document(metadata.config(services.current(), name, version))


@blueprint.post("/models/<name>/infer")
@blueprint.post("/models/<name>/versions/<version>/infer", endpoint="infer_of_version")
@_operation(
    Role.CLIENT,
    {200: V2Inference},
    body=InferRequest,
    errors=(404, 409, 429, 503, 504),
    takes_idempotency_key=True,
    answers_bytes=True,
    example={
        "inputs": [{"name": "input", "shape": [2, 3], "datatype": "FP32", "data": [0.5, 0.8, 0.2, 0.1, 0.2, 0.3]}]
    },
)
@hot
def infer(call: Call, name: str, version: str | None = None) -> Rest:
    """Predict with all rows of the inputs as one job, and wait for its end."""
    return inference.infer(call, name, version)


@blueprint.get("/models/stats")
@_operation(Role.OPERATOR, {200: V2Statistics}, errors=(503,))
def stats() -> Response:
    """Show the statistics of every deployment."""
    return responses.document(statistics.of_all(services.current()))


@blueprint.get("/models/<name>/stats")
@blueprint.get("/models/<name>/versions/<version>/stats", endpoint="model_stats_of_version")
@_operation(Role.OPERATOR, {200: V2Statistics}, errors=(404, 503))
def model_stats(name: str, version: str | None = None) -> Response:
    """Show the statistics of a model."""
    return responses.document(statistics.of_model(services.current(), name, version))


@blueprint.post("/repository/index")
@_operation(
    Role.OPERATOR, {200: V2Index}, body=IndexRequest, body_optional=True, errors=(503,), example={"ready": True}
)
def index() -> Response:
    """List endpoints and model versions with their states."""
    return responses.document(repository.index(services.current(), ready_only=wire.document(IndexRequest).ready))


@blueprint.post("/repository/models/<name>/load")
@_operation(
    Role.OPERATOR,
    {200: V2Done},
    body=LoadRequest,
    body_optional=True,
    errors=(404, 409, 501, 503, 507),
    example={"parameters": {"config": '{"max_batch_size": 32}'}},
)
def load(name: str) -> Response:
    """Deploy a model, and wait until it is ready."""
    repository.load(services.current(), name, wire.document(LoadRequest).parameters)
    return responses.document({})


@blueprint.post("/repository/models/<name>/unload")
@_operation(
    Role.OPERATOR,
    {200: V2Done},
    body=UnloadRequest,
    body_optional=True,
    errors=(404, 503, 507),
    example={"parameters": {"unload_dependents": False}},
)
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
@Access(Role.CLIENT)
def unsupported(**_: str) -> Response:
    """Refuse a part of the protocol that this server does not support."""
    raise Unsupported("This server has no trace settings, log settings or shared memory; GET /v2 lists what it has.")
