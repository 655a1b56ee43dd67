"""What is answered about the service itself."""

from __future__ import annotations

from pydantic import RootModel

from api.http.schema import Answer


class Document(Answer):
    """This document."""


class Metrics(RootModel[str]):
    """Metrics in Prometheus's text format."""


class Live(Answer):
    """The process answers."""

    status: str


class Part(Answer):
    """One service that requests need."""

    status: str
    answered_in_ms: float | None = None
    code: str | None = None
    detail: str | None = None


class Ready(Answer):
    """Whether requests can be answered now, and each part of it."""

    status: str
    parts: dict[str, Part]
