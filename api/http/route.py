"""What a route declares of itself, at its function: who may call it, what it takes and what it answers.

    @blueprint.post("/deploy")
    @Operation(Role.OPERATOR, "Deployments", {202: DeploymentView}, body=Deploy)
    def deploy() -> Response: …

The guard and the OpenAPI document read it from there. A page for people declares its access alone:
`@Access(Role.CLIENT)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flask import Flask
from pydantic import BaseModel

from registry.access.api_keys import ApiKey
from registry.roles import Role

View = TypeVar("View", bound=Callable[..., Any])
#: In place of a role: the route needs no key.
OPEN = None
_ATTRIBUTE = "declared"
_BODY_ERRORS = (400, 413, 415, 422)
_QUERY_ERRORS = (422,)


@dataclass(frozen=True)
class Access:
    """Who may call a route."""

    #: The least role of a caller's key; OPEN for every caller.
    role: Role | None
    #: Finds the key of a request that does not show it in its `Authorization` header.
    key_of: Callable[..., ApiKey] | None = field(default=None, kw_only=True)
    #: Whether a ticket for a job (`?ticket=…`) is as good as a key, and pages of other sites may be let in.
    takes_ticket: bool = field(default=False, kw_only=True)

    def __call__(self, view: View) -> View:
        """Declare this for a view function; stands below the route's own line."""
        setattr(view, _ATTRIBUTE, self)
        return view


@dataclass(frozen=True)
class Operation(Access):
    """Who may call a route, what it takes, and what it answers: its part of the OpenAPI document."""

    tag: str
    #: By status; None is an empty body.
    answers: Mapping[int, type[BaseModel] | None] = field(hash=False)
    body: type[BaseModel] | None = field(default=None, kw_only=True)
    query: type[BaseModel] | None = field(default=None, kw_only=True)
    #: Statuses of errors, beside those that every body, every query or every route may cause.
    errors: tuple[int, ...] = field(default=(), kw_only=True)
    #: The schema of errors in plain JSON; a problem document by default.
    error_body: type[BaseModel] | None = field(default=None, kw_only=True)
    takes_prefer_wait: bool = field(default=False, kw_only=True)
    takes_idempotency_key: bool = field(default=False, kw_only=True)
    takes_last_event_id: bool = field(default=False, kw_only=True)
    #: Whether the body is multipart: a file, and `body` as its metadata.
    multipart: bool = field(default=False, kw_only=True)
    #: The longest array of `body` that the route takes, or lines of it; 0 for a single `body`.
    max_elements: int = field(default=0, kw_only=True)
    #: Whether a request without a body is the same as one with an empty object.
    body_optional: bool = field(default=False, kw_only=True)
    #: Whether an answer may have bytes after its JSON.
    answers_bytes: bool = field(default=False, kw_only=True)
    #: Of the answers that are no errors.
    media_types: tuple[str, ...] = field(default=("application/json",), kw_only=True)
    example: Any = field(default=None, hash=False, kw_only=True)

    @property
    def error_statuses(self) -> list[int]:
        """The statuses of all errors of the route itself."""
        of_body = _BODY_ERRORS if self.body is not None else ()
        of_query = _QUERY_ERRORS if self.query is not None else ()
        return sorted({*self.errors, *of_body, *of_query, 500})


def access_of(app: Flask, endpoint: str) -> Access:
    """Return what a route declares.

    Raises:
        LookupError: it declares nothing.
    """
    declared: Access | None = getattr(app.view_functions[endpoint], _ATTRIBUTE, None)
    if declared is None:
        raise LookupError(f"{endpoint} declares neither @Operation(…) nor @Access(…)")
    return declared


def operations_of(app: Flask) -> dict[str, Operation]:
    """Return the operations of an app, by Flask's name of their route."""
    declared = {name: getattr(view, _ATTRIBUTE, None) for name, view in app.view_functions.items()}
    return {name: each for name, each in declared.items() if isinstance(each, Operation)}
