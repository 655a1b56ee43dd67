"""Routes of predictions: one for each endpoint, one for models, and one for many inputs."""

from __future__ import annotations

from flask import Blueprint, Response

from api.auth import identity
from api.edge.call import Call, Rest, hot
from api.http.exchange import Answer
from api.http.flask_app import responses
from api.http.ndjson import elements
from api.http.route import Operation
from api.predictions import bodies, bulk, service
from api.predictions.responses import submitted, submitted_many
from api.predictions.schemas import (
    Accepted,
    AcceptedMany,
    Endpoint,
    ModelPrediction,
    OutcomeOfJob,
    Pipeline,
    Prediction,
    SinglePrediction,
)
from api.process import services
from registry.deployments import DesiredDeployment
from registry.roles import Role
from workers.jobs.bulk import MAX_JOBS
from workers.platform.loops.blocking import beside

blueprint = Blueprint("predictions", __name__)


@blueprint.post("/predict/<endpoint_name>")
@Operation(
    Role.CLIENT,
    "Predictions",
    {200: OutcomeOfJob, 202: Accepted},
    body=SinglePrediction,
    errors=(404, 409, 429, 503),
    takes_prefer_wait=True,
    takes_idempotency_key=True,
    example={"input": [0.5, 0.8, 0.2]},
)
@hot
def predict_endpoint(call: Call, endpoint_name: str) -> Rest:
    """Submit a prediction to an endpoint."""
    prediction = bodies.read(call.content, SinglePrediction)
    return _submitted(call, service.serving_endpoint(call.services, call.caller, endpoint_name), prediction)


@blueprint.get("/predict/<endpoint_name>")
@Operation(Role.CLIENT, "Predictions", {200: Endpoint}, errors=(404, 503))
def show_endpoint(endpoint_name: str) -> Response:
    """Show what an endpoint takes: the signature of its input, and an example."""
    return responses.document(service.show_endpoint(services.current(), identity.current(), endpoint_name))


@blueprint.post("/predict/<endpoint_name>/bulk")
@Operation(
    Role.CLIENT,
    "Predictions",
    {202: AcceptedMany},
    body=Prediction,
    errors=(404, 409, 429, 503),
    takes_idempotency_key=True,
    max_elements=MAX_JOBS,
    example=[{"input": [0.5, 0.8, 0.2]}, {"input": [0.5, 0.8, 0.2], "expires_in_s": 60}],
)
@hot
def predict_many(call: Call, endpoint_name: str) -> Rest:
    """Submit many predictions to an endpoint, a job for each."""
    many = bulk.Many(endpoint_name, elements(call.content, call.request.media_type), call.idempotency_key())
    return _submitted_many(call, many)


@blueprint.post("/predict")
@Operation(
    Role.CLIENT,
    "Predictions",
    {200: OutcomeOfJob, 202: Accepted},
    body=ModelPrediction,
    errors=(404, 409, 429, 503),
    takes_prefer_wait=True,
    takes_idempotency_key=True,
    example={"model_name": "binary_classifier", "input": [0.5, 0.8, 0.2]},
)
@hot
def predict_model(call: Call) -> Rest:
    """Submit a prediction to a model: to its latest deployed version unless one is named."""
    prediction = bodies.read(call.content, ModelPrediction)
    wanted = prediction.model_name, prediction.version
    return _submitted(call, service.serving_model(call.services, call.caller, *wanted), prediction)


@blueprint.post("/pipelines")
@Operation(
    Role.CLIENT,
    "Predictions",
    {200: OutcomeOfJob, 202: Accepted},
    body=Pipeline,
    errors=(404, 409, 429, 503),
    takes_prefer_wait=True,
    takes_idempotency_key=True,
    example={"steps": [{"endpoint_name": "embed", "input": "a text"}, {"endpoint_name": "classify"}]},
)
@hot
def submit_pipeline(call: Call) -> Rest:
    """Submit a pipeline: deployments of which each predicts from the prediction of the one before it."""
    wanted = call.body(Pipeline)
    deployment = service.serving_endpoint(call.services, call.caller, wanted.steps[0].endpoint_name)
    return _submitted(call, deployment, wanted.prediction)


def _submitted(call: Call, deployment: DesiredDeployment, prediction: SinglePrediction) -> Rest:
    key, wait_s = call.idempotency_key(), call.prefer_wait_s()
    prediction = service.checked(deployment, prediction)
    then = service.serving_endpoints(call.services, call.caller, prediction.then or ())
    idempotency = service.idempotent(deployment, prediction, key)
    size_bytes = _bytes_to_write(call, prediction)
    wanted = service.Submit(deployment, prediction, call.caller.name, idempotency, wait_s, size_bytes, then)

    async def rest() -> Answer:
        result = await service.submit(call.services, wanted)
        return await beside(result.job.record_bytes, submitted, call.request, result, wait_s)

    return rest()


def _bytes_to_write(call: Call, prediction: Prediction) -> int:
    # JSON that goes on as it is costs a quarter of what is written again.
    return len(call.content) // (1 if prediction.json_rows is None else 4)


async def _submitted_many(call: Call, many: bulk.Many) -> Answer:
    # A call of many jobs has milliseconds of work, for which the loop must not stop.
    result = await call.services.jobs.in_thread(bulk.submit_many, call.services, call.caller, many)
    return submitted_many(call.request, result)
