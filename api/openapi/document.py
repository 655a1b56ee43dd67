"""Putting the OpenAPI 3.1 document together; the endpoints' part is read anew each time."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from flask import Flask, current_app
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api import identity
from api.openapi import access
from api.openapi.answers import InvalidRequest, Problem
from api.openapi.operation import Operation
from api.openapi.operations import OPERATIONS
from api.openapi.v2 import TAG as V2_TAG
from api.problems import MEDIA_TYPE
from api.schemas import Prediction
from api.services import Services
from registry import deployments
from registry.deployments import DesiredDeployment, Intent
from workers.bulk import MAX_JOBS
from workers.release import release

Json = dict[str, Any]
_REFERENCE = "#/components/schemas/{model}"
_PATH_PARAMETER = re.compile(r"<(\w+)>")
_PREFER = {
    "name": "Prefer",
    "in": "header",
    "description": "`wait=N`: answer when it is done, or after N seconds (RFC 7240).",
    "schema": {"type": "string", "example": "wait=10"},
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A repeated submit with the same key and body is the same job; up to 255 characters.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"\S"},
}
_LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The id of the event that was seen last: browsers send it when they connect again.",
    "schema": {"type": "string"},
}
_ERRORS = {
    400: "The body is not JSON.",
    404: "There is no such thing.",
    409: "It is in a state that doesn't allow this.",
    413: "The body is too large.",
    415: "The body is of the wrong kind.",
    429: "The queue is full, or as many streams are open as may be; try again after Retry-After.",
    422: "A field, or the input, can't be accepted; the answer names it.",
    500: "The prediction failed, or the server did.",
    503: "Redis or the registry can't be reached; try again after Retry-After.",
    501: "This server doesn't have this part of the protocol.",
    504: "The job has not ended within the wait; the answer says where its outcome will be.",
    507: "The registry's or the artifact store's disk is full.",
}


def describe(services: Services) -> Json:
    """Return the document: every fixed route, and a path per endpoint that takes the caller's predictions."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    fixed, caller = describe_routes(app), identity.current()
    with services.database.session() as session:
        serving = [row for row in deployments.desired(session) if row.intent is Intent.SERVE]
    usable = [row for row in serving if caller.may_use(row.endpoint_name)]
    endpoints = {f"/predict/{row.endpoint_name}": {"post": _endpoint(app, row)} for row in usable}
    return {**fixed, "paths": {**endpoints, **fixed["paths"]}}


@lru_cache(maxsize=4)
def describe_routes(app: Flask) -> Json:
    """Return the part of the document that doesn't depend on what is deployed."""
    paths: dict[str, Json] = {}
    for rule in app.url_map.iter_rules():
        operation = OPERATIONS.get(rule.endpoint)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}) if operation else ():
            path = _PATH_PARAMETER.sub(r"{\1}", rule.rule)
            summary = (app.view_functions[rule.endpoint].__doc__ or "").strip()
            described = _operation(rule.endpoint, path, summary)
            paths.setdefault(path, {})[method.lower()] = access.guarded(app, rule.endpoint, described)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Queuecast",
            "version": release(),
            "description": "Machine-learning models served through queues.",
        },
        "tags": [
            {"name": name}
            for name in (
                "Endpoints",
                "Predictions",
                "Jobs",
                "Dead letters",
                "Webhooks",
                "Deployments",
                "Models",
                V2_TAG,
                "Keys",
                "Health",
            )
        ],
        "paths": paths,
        "components": {"schemas": _component_schemas(), "securitySchemes": access.SECURITY_SCHEMES},
    }


def _component_schemas() -> Json:
    used: list[type[BaseModel]] = [Problem, InvalidRequest]
    for operation in OPERATIONS.values():
        mentioned = (operation.body, operation.error_body, *operation.answers.values())
        used += [each for each in mentioned if each is not None]
    schemas = models_json_schema([(each, "validation") for each in dict.fromkeys(used)], ref_template=_REFERENCE)
    components: Json = schemas[1]["$defs"]
    return components


def _operation(endpoint: str, path: str, summary: str) -> Json:
    operation = OPERATIONS[endpoint]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
    ]
    described: Json = {
        "operationId": endpoint.replace(".", "_"),
        "tags": [operation.tag],
        "summary": summary,
        "parameters": parameters + _query_parameters(operation) + _header_parameters(operation),
        "responses": _responses(operation),
    }
    if operation.body is not None:
        described["requestBody"] = _request_body(operation, operation.body)
    return described


def _header_parameters(operation: Operation) -> list[Json]:
    taken = [(operation.takes_prefer_wait, _PREFER), (operation.takes_idempotency_key, _IDEMPOTENCY_KEY)]
    taken.append((operation.takes_last_event_id, _LAST_EVENT_ID))
    return [parameter for takes, parameter in taken if takes]


def _query_parameters(operation: Operation) -> list[Json]:
    if operation.query is None:
        return []
    schema = operation.query.model_json_schema(ref_template=_REFERENCE)
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": _without_null(_inlined(each, schema.get("$defs", {}))),
        }
        for name, each in schema["properties"].items()
    ]


def _without_null(schema: Json) -> Json:
    """Leave out what a query string can't say: such a parameter is left out itself."""
    alternatives = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if len(alternatives) != 1:
        return schema
    return {**{name: each for name, each in schema.items() if name not in ("anyOf", "default")}, **alternatives[0]}


def _inlined(schema: Any, definitions: Json) -> Any:
    """Put definitions where they are referred to: a parameter has no place for them."""
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return definitions[schema["$ref"].rsplit("/", 1)[1]]
    return {name: _inlined(each, definitions) for name, each in schema.items()}


def _request_body(operation: Operation, body: type[BaseModel]) -> Json:
    schema: Json = {"$ref": _REFERENCE.format(model=body.__name__)}
    content: Json
    if operation.many:
        array = {"type": "array", "items": schema, "minItems": 1, "maxItems": MAX_JOBS}
        lines = {
            "schema": {"type": "string", "description": "One such object a line."},
            "example": "\n".join(json.dumps(each) for each in operation.example or ()),
        }
        content = {"application/json": {"schema": array, "example": operation.example}, "application/x-ndjson": lines}
        return {"required": True, "content": content}
    if not operation.multipart:
        content = {"schema": schema}
        if operation.example is not None:
            content["example"] = operation.example
        return {"required": not operation.body_optional, "content": {"application/json": content}}
    parts = {
        "type": "object",
        "required": ["artifact", "metadata"],
        "properties": {
            "artifact": {"type": "string", "contentMediaType": "application/octet-stream"},
            "metadata": schema,
        },
        "additionalProperties": False,
    }
    form = {
        "schema": parts,
        "example": {"metadata": operation.example},
        "encoding": {"metadata": {"contentType": "application/json"}},
    }
    return {"required": True, "content": {"multipart/form-data": form}}


def _responses(operation: Operation) -> Json:
    described: Json = {}
    for status, answer in operation.answers.items():
        described[str(status)] = {"description": (answer.__doc__ or "").strip() if answer else "Done."}
        if answer is not None:
            reference = {"$ref": _REFERENCE.format(model=answer.__name__)}
            described[str(status)]["content"] = {each: {"schema": reference} for each in operation.media_types}
        if operation.answers_bytes:
            described[str(status)]["content"]["application/octet-stream"] = {}
    for status in (*operation.errors, 500):
        known = described.setdefault(str(status), {"description": _ERRORS[status], "content": {}})
        media_type, schema = _error_body(operation, status)
        if media_type in known["content"]:
            schema = {"anyOf": [known["content"][media_type]["schema"], schema]}
        known["content"][media_type] = {"schema": schema}
    return described


def _error_body(operation: Operation, status: int) -> tuple[str, Json]:
    if operation.error_body is not None:
        return "application/json", {"$ref": _REFERENCE.format(model=operation.error_body.__name__)}
    name = InvalidRequest.__name__ if status == 422 else Problem.__name__
    return MEDIA_TYPE, {"$ref": _REFERENCE.format(model=name)}


@lru_cache(maxsize=1)
def _any_prediction() -> Json:
    schema = Prediction.model_json_schema(ref_template=_REFERENCE)
    del schema["$defs"]  # they are among the components
    return schema


def _endpoint(app: Flask, row: DesiredDeployment) -> Json:
    name = "predictions.predict_endpoint"
    general = access.guarded(app, name, _operation(name, "", ""))
    one = row.signature.json_schema()
    schema = _any_prediction()
    rows = {"input": one, "inputs": {"type": "array", "items": one, "minItems": 1}}
    schema = {**schema, "properties": {**schema["properties"], **rows}}
    content: Json = {"schema": schema}
    if row.input_example is not None:
        content["example"] = {"input": row.input_example}
    return {
        **general,
        "operationId": f"predict_{row.endpoint_name}",
        "tags": ["Endpoints"],
        "summary": f"Predict with {row.model_name}, version {row.version}.",
        "requestBody": {"required": True, "content": {"application/json": content}},
    }
