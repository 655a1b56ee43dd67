"""Routes of predictions: one for each endpoint, one for models, and one for many inputs."""

from __future__ import annotations

from flask import Blueprint, Response

from api.auth.identity import idempotency_key
from api.http.ndjson import elements
from api.http.requests import body, prefer_wait_s
from api.http.route import Operation
from api.predictions import bulk, service
from api.predictions.responses import submitted, submitted_many
from api.predictions.schemas import Accepted, AcceptedMany, ModelPrediction, OutcomeOfJob, Prediction
from api.process import services
from registry.roles import Role
from workers.jobs.bulk import MAX_JOBS

blueprint = Blueprint("predictions", __name__)


@blueprint.post("/predict/<endpoint_name>")
@Operation(
    Role.CLIENT,
    "Predictions",
    {200: OutcomeOfJob, 202: Accepted},
    body=Prediction,
    errors=(404, 409, 429, 503),
    takes_prefer_wait=True,
    takes_idempotency_key=True,
    example={"input": [0.5, 0.8, 0.2]},
)
def predict_endpoint(endpoint_name: str) -> Response:
    """Submit a prediction to an endpoint."""
    here = services.current()
    wait_s = prefer_wait_s(here.settings.max_wait_s)
    return submitted(
        service.submit_to_endpoint(here, endpoint_name, body(Prediction), wait_s, idempotency_key()), wait_s
    )


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
def predict_many(endpoint_name: str) -> Response:
    """Submit many predictions to an endpoint, a job for each."""
    return submitted_many(bulk.submit_many(services.current(), endpoint_name, elements(), idempotency_key()))


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
def predict_model() -> Response:
    """Submit a prediction to a model: to its latest deployed version unless one is named."""
    here = services.current()
    wait_s = prefer_wait_s(here.settings.max_wait_s)
    return submitted(service.submit_to_model(here, body(ModelPrediction), wait_s, idempotency_key()), wait_s)
