"""What the OpenAPI document says of keys: the role that each route needs, and how a request without it is refused."""

from __future__ import annotations

from typing import Any

from flask import Flask

from api import guard, services

Json = dict[str, Any]
#: The name under which the document speaks of keys.
_SCHEME = "apiKey"
SECURITY_SCHEMES: Json = {
    _SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "qc_…",
        "description": "An API key (`queuecast keys create`). Where the API asks for none, nothing needs it.",
    }
}
_REFUSALS = {
    "401": "The API key is missing, unknown or revoked.",
    "403": "The API key's role, or its endpoints, don't allow this.",
    "429": "The API key has had its requests of this second; try again after Retry-After.",
}


def guarded(app: Flask, endpoint: str, operation: Json) -> Json:
    """Return the description of a route with what its guard does."""
    role = guard.needed_role(app, endpoint)
    if role is None:
        return operation
    # An error looks the same whoever refuses.
    content = operation["responses"]["500"]["content"]
    refusals = {status: {"description": text, "content": content} for status, text in _REFUSALS.items()}
    found = {
        **operation,
        "description": f"Needs a key of role `{role}`, where keys are asked for.",
        "responses": {**refusals, **operation["responses"]},
    }
    if services.of(app).settings.asks_for_keys:
        found["security"] = [{_SCHEME: []}]
    return found
