"""What an error looks like to clients (RFC 9457): the document, its media type and headers. Must not know Flask."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"
#: Soon enough for clients that wait, late enough for a service that restarts.
RETRY_AFTER_S = 2
#: Addresses of the Open Inference Protocol, whose clients read `error`, some only in plain JSON.
_PROTOCOL = "/v2"
#: The stable codes of what no feature refuses, and what to do about it.
HTTP_CODES = {
    400: ("request_malformed", "The request can't be read."),
    404: ("not_found", "There is nothing at this address; /openapi.json lists what there is."),
    405: ("method_not_allowed", "This address doesn't take this method; the Allow header lists those it takes."),
    413: ("body_too_large", "The body is larger than this address takes."),
    415: ("media_type_wrong", "The body is of a kind that this address doesn't take."),
    500: ("internal_error", "Something went wrong here; the log has it under this request id."),
}


def document(
    path: str, status: int, code: str, detail: str, extras: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], str]:
    """Return the document for a request of this path, and its media type; `extras` never replace standard members."""
    found = {
        **(extras or {}),
        "type": f"urn:queuecast:problem:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "code": code,
    }
    if not f"{path}/".startswith(f"{_PROTOCOL}/"):
        return found, MEDIA_TYPE
    return {**found, "error": detail}, "application/json"


def headers(status: int) -> dict[str, str]:
    """Return the headers that go with every error of this status."""
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": str(RETRY_AFTER_S)}
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    return {}
