"""What the OpenAPI document says of one route."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel


@dataclass(frozen=True)
class Operation:
    """One route: its tag, what it takes and what it answers; None as an answer is an empty body."""

    tag: str
    answers: Mapping[int, type[BaseModel] | None]
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    #: Status codes of errors beside those that every route may have.
    errors: tuple[int, ...] = ()
    #: What errors look like, in plain JSON; a problem document by default.
    error_body: type[BaseModel] | None = None
    takes_prefer_wait: bool = False
    takes_idempotency_key: bool = False
    takes_last_event_id: bool = False
    multipart: bool = False
    #: The body is an array of `body`, or one a line.
    many: bool = False
    #: Whether a request without a body says as much as one with an empty object.
    body_optional: bool = False
    #: Whether what it answers can also be bytes after JSON.
    answers_bytes: bool = False
    #: Of the answers that are no errors.
    media_types: tuple[str, ...] = ("application/json",)
    example: Any = field(default=None, hash=False)
