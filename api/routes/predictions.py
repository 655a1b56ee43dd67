"""Predictions: a URL per endpoint, and one universal URL, over one code path."""

from __future__ import annotations

from flask import Blueprint, Response

from api import responses, services, submitting, submitting_many
from api.elements import elements
from api.guard import needs
from api.requests import body, idempotency_key, prefer_wait_s
from api.schemas import ModelPrediction, Prediction
from registry.roles import Role

blueprint = Blueprint("predictions", __name__)


@blueprint.post("/predict/<endpoint_name>")
@needs(Role.CLIENT)
def predict_endpoint(endpoint_name: str) -> Response:
    """Submit a prediction to an endpoint."""
    here = services.current()
    wait_s = prefer_wait_s(here.settings.max_wait_s)
    return responses.submitted(
        submitting.submit_to_endpoint(here, endpoint_name, body(Prediction), wait_s, idempotency_key()), wait_s
    )


@blueprint.post("/predict/<endpoint_name>/bulk")
@needs(Role.CLIENT)
def predict_many(endpoint_name: str) -> Response:
    """Submit many predictions to an endpoint, a job for each."""
    return responses.submitted_many(
        submitting_many.submit_many(services.current(), endpoint_name, elements(), idempotency_key())
    )


@blueprint.post("/predict")
@needs(Role.CLIENT)
def predict_model() -> Response:
    """Submit a prediction to a model: to its latest deployed version unless one is named."""
    here = services.current()
    wait_s = prefer_wait_s(here.settings.max_wait_s)
    return responses.submitted(
        submitting.submit_to_model(here, body(ModelPrediction), wait_s, idempotency_key()), wait_s
    )
