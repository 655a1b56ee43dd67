"""A request and its answer without any web framework: what the Flask app and the event loop's own routes share."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from workers.platform.ids import new_id

#: The header of a request's id, in requests and answers.
REQUEST_ID = "X-Request-ID"
_USABLE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
NO_ROUTE = "none"


class Request:
    """A request as WSGI describes it (PEP 3333), without its body.

    Attributes:
        environ: method, path, query and headers by their names in WSGI; a header that came twice is joined with commas.
        route: the pattern of its address, "none" if there is nothing at it.
        arguments: the parts of its path that the pattern names.
        began: when it arrived (seconds of `time.perf_counter`).
        request_id: the caller's own, or a new one.
        span: what ends with the request; None without traces.
        answered: told the status of the answer; None without traces.
    """

    __slots__ = ("answered", "arguments", "began", "environ", "request_id", "route", "span")

    def __init__(self, environ: dict[str, Any], route: str, arguments: Mapping[str, str], began: float) -> None:
        self.environ = environ
        self.route = route
        self.arguments = arguments
        self.began = began
        given = environ.get("HTTP_X_REQUEST_ID", "")
        self.request_id: str = given if _USABLE_ID.fullmatch(given) else new_id()
        self.span: ExitStack | None = None
        self.answered: Callable[[int], None] | None = None

    @property
    def method(self) -> str:
        """The method, in capitals."""
        return str(self.environ["REQUEST_METHOD"])

    @property
    def path(self) -> str:
        """The path, decoded, without the prefix of a reverse proxy."""
        # WSGI has the bytes of the path as Latin-1 (PEP 3333).
        return str(self.environ.get("PATH_INFO") or "/").encode("latin-1").decode(errors="replace")

    @property
    def media_type(self) -> str:
        """The type of the body without its parameters, in small letters."""
        return str(self.environ.get("CONTENT_TYPE") or "").partition(";")[0].strip().lower()

    def header(self, name: str) -> str | None:
        """Return a header by its name in WSGI (`HTTP_PREFER`); None without it."""
        value: str | None = self.environ.get(name)
        return value

    def address(self, path: str) -> str:
        """Return the path of one of the service's addresses as the caller sees it."""
        return f"{self.environ.get('SCRIPT_NAME', '')}{path}"


@dataclass(slots=True)
class Answer:
    """An answer: its body, or a stream of frames in its place."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
