"""Makes the OpenAPI 3.1 document from what the routes declare. Must not know any feature.

What depends on the registry's content is made anew for each request, by the features that have such parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from flask import Flask, current_app
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.http.flask_app.prefix import address
from api.http.problem_documents import MEDIA_TYPE
from api.http.route import Operation, operations_of
from api.http.schema import InvalidRequest, Problem
from api.openapi import access, fields
from api.process.services import Services
from workers.platform.release import release

Json = dict[str, Any]
_EXTENSION = "queuecast_openapi"
#: How a schema refers to another one.
REFERENCE = "#/components/schemas/{model}"
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
    "description": "The id of the last received event: browsers send it when they reconnect.",
    "schema": {"type": "string"},
}
_ERRORS = {
    400: "The body is not JSON.",
    404: "It does not exist.",
    409: "Its state does not allow this.",
    413: "The body is too large.",
    415: "The body is of the wrong kind, or has a Content-Encoding other than gzip and deflate.",
    429: "The queue is full, or too many streams are open; try again after Retry-After.",
    422: "A field or the input is invalid; the response names it.",
    500: "The prediction failed, or the server did.",
    503: "Redis or the registry can't be reached; try again after Retry-After.",
    501: "This server does not support this part of the protocol.",
    504: "The job has not ended within the wait; the response has the address of its outcome.",
    507: "The registry's or the artifact store's disk is full.",
}


#: Makes paths that depend on the registry's content, given the fixed part of the document.
MorePaths = Callable[[Services, Json], Json]


@dataclass(frozen=True)
class _Parts:
    """What the document has besides the routes' own declarations."""

    tags: tuple[str, ...]
    more_paths: tuple[MorePaths, ...]


def install(app: Flask, tags: Iterable[str], more_paths: Iterable[MorePaths] = ()) -> None:
    """Give the app's document the order of its tags, and the paths that depend on the registry's content."""
    app.extensions[_EXTENSION] = _Parts(tuple(tags), tuple(more_paths))


def describe(services: Services) -> Json:
    """Return the document: every fixed route, and the paths that this caller can use at this moment."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    fixed = describe_routes(app)
    paths: Json = {}
    for make in _parts(app).more_paths:
        paths |= make(services, fixed)
    return {**fixed, "servers": [{"url": address("/")}], "paths": {**paths, **fixed["paths"]}}


@lru_cache(maxsize=4)
def describe_routes(app: Flask) -> Json:
    """Return the part of the document that doesn't depend on what is deployed."""
    operations = operations_of(app)
    paths: dict[str, Json] = {}
    for rule in app.url_map.iter_rules():
        operation = operations.get(rule.endpoint)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}) if operation else ():
            path = _PATH_PARAMETER.sub(r"{\1}", rule.rule)
            paths.setdefault(path, {})[method.lower()] = describe_route(app, rule.endpoint, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Queuecast",
            "version": release(),
            "description": "Machine-learning models served through queues. Bodies may have a Content-Encoding: gzip or "
            "deflate.",
        },
        "tags": [{"name": name} for name in _parts(app).tags],
        "paths": paths,
        "components": {"schemas": _component_schemas(operations.values()), "securitySchemes": access.SECURITY_SCHEMES},
    }


def describe_route(app: Flask, endpoint: str, path: str = "") -> Json:
    """Return the description of one route, whose parameters in its path are in braces."""
    operation = operations_of(app)[endpoint]
    summary = (app.view_functions[endpoint].__doc__ or "").strip()
    return access.guarded(app, operation, _operation(operation, endpoint, path, summary))


def _parts(app: Flask) -> _Parts:
    parts = app.extensions[_EXTENSION]
    assert isinstance(parts, _Parts)  # noqa: S101 - narrows the type
    return parts


def _component_schemas(operations: Iterable[Operation]) -> Json:
    used: list[type[BaseModel]] = [Problem, InvalidRequest]
    for operation in operations:
        mentioned = (operation.body, operation.error_body, *operation.answers.values())
        used += [each for each in mentioned if each is not None]
    schemas = models_json_schema([(each, "validation") for each in dict.fromkeys(used)], ref_template=REFERENCE)
    components: Json = schemas[1]["$defs"]
    for name, schema in components.items():
        fields.describe(name, schema)
    return components


def _operation(operation: Operation, endpoint: str, path: str, summary: str) -> Json:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
    ]
    described: Json = {
        "operationId": endpoint.replace(".", "_"),
        "tags": [operation.tag],
        "summary": summary,
        "parameters": [
            *map(fields.described, parameters + _query_parameters(operation)),
            *_header_parameters(operation),
        ],
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
    schema = operation.query.model_json_schema(ref_template=REFERENCE)
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
    schema: Json = {"$ref": REFERENCE.format(model=body.__name__)}
    content: Json
    if operation.max_elements:
        array = {"type": "array", "items": schema, "minItems": 1, "maxItems": operation.max_elements}
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
    fields.describe("Upload", parts)
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
            reference = {"$ref": REFERENCE.format(model=answer.__name__)}
            described[str(status)]["content"] = {each: {"schema": reference} for each in operation.media_types}
        if operation.answers_bytes:
            described[str(status)]["content"]["application/octet-stream"] = {}
    for status in operation.error_statuses:
        known = described.setdefault(str(status), {"description": _ERRORS[status], "content": {}})
        media_type, schema = _error_body(operation, status)
        if media_type in known["content"]:
            schema = {"anyOf": [known["content"][media_type]["schema"], schema]}
        known["content"][media_type] = {"schema": schema}
    return described


def _error_body(operation: Operation, status: int) -> tuple[str, Json]:
    if operation.error_body is not None:
        return "application/json", {"$ref": REFERENCE.format(model=operation.error_body.__name__)}
    name = InvalidRequest.__name__ if status == 422 else Problem.__name__
    return MEDIA_TYPE, {"$ref": REFERENCE.format(model=name)}
