"""A path of the OpenAPI document for each endpoint that takes the caller's predictions, with its own input schema."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from flask import Flask, current_app

from api.auth import identity
from api.openapi.document import REFERENCE, describe_route
from api.predictions import operation_ids
from api.predictions.schemas import Prediction
from api.process.services import Services
from registry import deployments
from registry.deployments import DesiredDeployment, Intent

Json = dict[str, Any]
TAG = "Endpoints"
_ROUTE = "predictions.predict_endpoint"


def endpoint_paths(services: Services, fixed: Json) -> Json:
    """Return a path for each serving endpoint that the caller may use; its id differs from those in `fixed`."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    caller = identity.current()
    with services.database.session() as session:
        serving = [row for row in deployments.desired(session) if row.intent is Intent.SERVE]
    usable = [row for row in serving if caller.may_use(row.endpoint_name)]
    taken = [each["operationId"] for methods in fixed["paths"].values() for each in methods.values()]
    ids = operation_ids.of_endpoints((row.endpoint_name for row in usable), taken)
    general = describe_route(app, _ROUTE)
    return {
        f"/predict/{row.endpoint_name}": {"post": {**general, **_own(row), "operationId": ids[row.endpoint_name]}}
        for row in usable
    }


def _own(row: DesiredDeployment) -> Json:
    one = row.signature.json_schema()
    schema = _any_prediction()
    rows: Json = {"input": one, "inputs": {"type": "array", "items": one, "minItems": 1}}
    own = {name: {"description": schema["properties"][name]["description"], **each} for name, each in rows.items()}
    schema = {**schema, "properties": {**schema["properties"], **own}}
    content: Json = {"schema": schema}
    if row.input_example is not None:
        content["example"] = {"input": row.input_example}
    return {
        "tags": [TAG],
        "summary": f"Predict with {row.model_name}, version {row.version}.",
        "requestBody": {"required": True, "content": {"application/json": content}},
    }


@lru_cache(maxsize=1)
def _any_prediction() -> Json:
    schema = Prediction.model_json_schema(ref_template=REFERENCE)
    del schema["$defs"]  # they are among the components
    return schema
