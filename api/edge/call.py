"""What a hot operation is given: the request with its caller and body, and the services of the app.

A hot operation is a function in two steps. The function itself reads and checks the request, without waiting for
anything but what it lacks in memory, and returns a coroutine, which does the rest on the event loop:

    @blueprint.get("/jobs/<job_id>")
    @Operation(Role.CLIENT, "Jobs", {200: JobDocument}, query=JobWait)
    @hot
    def show_job(call: Call, job_id: str) -> Coroutine[Any, Any, Answer]: …
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, TypeVar

from flask import Response, current_app
from flask import request as flask_request
from pydantic import BaseModel

from api.auth import identity
from api.auth.identity import Identity
from api.http import reading
from api.http.exchange import Answer, Request
from api.http.flask_app import bodies, requests, responses, telemetry
from api.http.flask_app.telemetry import HttpMetrics
from api.process import services
from api.process.services import Services
from workers.platform.loops.blocking import LONG_BYTES

_Model = TypeVar("_Model", bound=BaseModel)
Rest = Coroutine[Any, Any, Answer]
Plan = Callable[..., Rest]
_ATTRIBUTE = "plan"


class Call:
    """A request for a hot operation, from a caller who may make it.

    Attributes:
        raw: the body as it came.
    """

    __slots__ = ("_content", "caller", "metrics", "raw", "request", "services")

    def __init__(self, here: Services, request: Request, caller: Identity, metrics: HttpMetrics) -> None:
        self.services = here
        self.request = request
        self.caller = caller
        self.metrics = metrics
        self.raw = b""
        self._content: bytes | None = None

    @property
    def content(self) -> bytes:
        """The body, decoded. Raises MediaTypeWrong, RequestMalformed, BodyTooLarge."""
        if self._content is None:
            most_bytes = self.services.settings.max_body_bytes
            self._content = bodies.decoded(self.raw, self.request.header("HTTP_CONTENT_ENCODING"), most_bytes)
        return self._content

    def forget_body(self) -> None:
        """Let go of the body."""
        self.raw, self._content = b"", b""

    @property
    def may_be_long(self) -> bool:
        """Whether the body is so long, or may be when it is decoded, that it should not be parsed on the event loop."""
        return len(self.raw) > LONG_BYTES or "HTTP_CONTENT_ENCODING" in self.request.environ

    def body(self, model: type[_Model]) -> _Model:
        """Read the body as a JSON object. Raises JsonInvalid, RequestInvalid."""
        return reading.json_body(self.content, model)

    def query(self, model: type[_Model]) -> _Model:
        """Read the query string. Raises RequestInvalid."""
        return reading.parameters(self.request, model)

    def prefer_wait_s(self) -> float | None:
        """Return the seconds of `Prefer: wait=N`, within what the settings allow; None if not asked."""
        return reading.prefer_wait_s(self.request, self.services.settings.max_wait_s)

    def idempotency_key(self) -> str | None:
        """Return the `Idempotency-Key` header, scoped to the caller. Raises IdempotencyKeyInvalid."""
        return identity.idempotency_key(self.request, self.caller)


def hot(plan: Plan) -> Callable[..., Response]:
    """Return the Flask view of a hot operation; `plan_of` finds the operation in it."""

    @wraps(plan)
    def view(**arguments: str) -> Response:
        here = services.current()
        call = Call(here, requests.current(), identity.current(), telemetry.counters_of(current_app))
        call.raw = flask_request.get_data(cache=False)
        return _response(here, here.jobs.run(plan(call, **arguments)))

    setattr(view, _ATTRIBUTE, plan)
    return view


def plan_of(view: Callable[..., Any]) -> Plan | None:
    """Return the hot operation behind a view; None if it is none."""
    found: Plan | None = getattr(view, _ATTRIBUTE, None)
    return found


def _response(here: Services, answer: Answer) -> Response:
    if answer.stream is None:
        return responses.of(answer)
    frames = _Frames(here, answer)
    response = Response(frames, answer.status, answer.headers)
    response.call_on_close(frames.close)
    if flask_request.method == "HEAD":
        response.close()  # the server doesn't
    return response


class _Frames(Iterator[bytes]):
    """The frames of a stream, for a thread."""

    def __init__(self, here: Services, answer: Answer) -> None:
        self._here = here
        self._answer = answer

    def __next__(self) -> bytes:
        frame = self._here.jobs.run(self._next())
        if frame is None:
            raise StopIteration
        return frame

    def close(self) -> None:
        """End the stream."""
        self._here.jobs.run(self._close())

    async def _next(self) -> bytes | None:
        assert self._answer.stream is not None  # noqa: S101 - narrows the type
        return await anext(self._answer.stream, None)

    async def _close(self) -> None:
        close = getattr(self._answer.stream, "aclose", None)
        if close is not None:
            await close()
