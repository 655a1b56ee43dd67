"""API keys in the OpenAPI document: the role that each route needs, and how a request without it is refused."""

from __future__ import annotations

from typing import Any

from flask import Flask

from api.http.route import Operation
from api.process import services

Json = dict[str, Any]
#: The name of the security scheme.
_SCHEME = "apiKey"
SECURITY_SCHEMES: Json = {
    _SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "qc_…",
        "description": "An API key (`queuecast keys create`). Where the API runs without keys, none is "
        "needed, and one that is shown counts all the same, with its role and limits.",
    }
}
_REFUSALS = {
    "401": "The API key is missing, unknown or revoked.",
    "403": "The API key's role, or its endpoints, don't allow this.",
    "429": "The API key has reached its requests per second; try again after Retry-After.",
}


def guarded(app: Flask, operation: Operation, described: Json) -> Json:
    """Return the description of a route with the responses of the guard."""
    role = operation.role
    if role is None:
        return described
    # All errors have the same schema.
    content = described["responses"]["500"]["content"]
    refusals = {status: {"description": text, "content": content} for status, text in _REFUSALS.items()}
    found = {
        **described,
        "description": f"Needs a key of role `{role}`, where keys are asked for.",
        "responses": {**refusals, **described["responses"]},
    }
    if services.of(app).settings.asks_for_keys:
        found["security"] = [{_SCHEME: []}]
    return found
