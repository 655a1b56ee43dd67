"""The Open Inference Protocol: the addresses that clients of other servers know, over our own deployments."""

from __future__ import annotations

from flask import Blueprint, Response

from api import responses, services
from api.requests import idempotency_key
from api.v2 import inferring, wire

blueprint = Blueprint("v2", __name__, url_prefix="/v2")


@blueprint.post("/models/<name>/infer")
@blueprint.post("/models/<name>/versions/<version>/infer")
def infer(name: str, version: str | None = None) -> Response:
    """Predict, and wait for it."""
    result = inferring.infer(services.current(), name, version, wire.body(), idempotency_key())
    return wire.answer(result.content, result.outputs, result.binary)
