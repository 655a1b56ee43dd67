"""Answers hot operations on the server's event loop: the same operations as those of the Flask app, without it."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from flask import Flask

from api.auth import cross_origin, guard
from api.edge.call import Call, Plan, Rest, plan_of
from api.http import problem_documents
from api.http.exchange import REQUEST_ID, Answer, Request
from api.http.flask_app import prefix, telemetry
from api.http.route import Access, access_of
from api.process import services
from api.process.services import Services

#: The status in metrics and logs of a request whose client has gone before there was an answer; it is never sent.
_CLIENT_GONE = 499
_VARIABLE = re.compile(r"<(\w+)>")


class Body(Protocol):
    """The body of a request, as it comes."""

    async def read(self, most_bytes: int) -> bytes:
        """Read all of it. Raises BodyTooLarge, RequestMalformed, ServerBusy."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True, slots=True)
class _Route:
    pattern: str
    expression: re.Pattern[str]
    plan: Plan
    access: Access


class Handler:
    """Answers the hot operations of an app; for the server (`api.http.server`)."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._metrics = telemetry.counters_of(app)
        self._prefix = prefix.of(app)
        #: By method and first part of the path.
        self._routes: dict[tuple[str, str], list[_Route]] = {}
        for rule in app.url_map.iter_rules():
            plan = plan_of(app.view_functions[rule.endpoint])
            if plan is not None:
                self._add(rule.rule, rule.methods or set(), plan, access_of(app, rule.endpoint))

    def __call__(self, environ: dict[str, Any], body: Body) -> Awaitable[Answer] | None:
        """Return the coroutine that answers a request; None for all but hot operations."""
        if self._prefix is not None:
            environ = dict(environ)
            self._prefix.apply(environ)
        path = environ["PATH_INFO"]
        first = path[1 : path.find("/", 1)] if path.find("/", 1) > 0 else path[1:]
        for route in self._routes.get((environ["REQUEST_METHOD"], first), ()):
            if match := route.expression.fullmatch(path):
                return self._answer(environ, route, _arguments(match), body)
        return None

    def _add(self, pattern: str, methods: set[str], plan: Plan, access: Access) -> None:
        expression = re.compile(_VARIABLE.sub(r"(?P<\1>[^/]+)", pattern))
        for method in methods - {"HEAD", "OPTIONS"}:
            routes = self._routes.setdefault((method, pattern.split("/")[1]), [])
            routes.append(_Route(pattern, expression, plan, access))

    async def _answer(self, environ: dict[str, Any], route: _Route, arguments: Mapping[str, str], body: Body) -> Answer:
        here, request = services.of(self._app), Request(environ, route.pattern, arguments, time.perf_counter())
        telemetry.begin(request)
        status = _CLIENT_GONE
        try:
            try:
                answer = await self._answered(here, request, route, body)
            except Exception as error:  # noqa: BLE001 - each is answered, as Flask does
                answer = problem_documents.answer(error, request)
            answer.headers[REQUEST_ID] = request.request_id
            answer.headers |= _cross_origin(here, request, route, answer)
            status = answer.status
            return answer
        finally:
            telemetry.end(request, status, self._metrics, is_logged=here.settings.access_log)
            telemetry.close(request)

    async def _answered(self, here: Services, request: Request, route: _Route, body: Body) -> Answer:
        caller = await here.jobs.here_or_in_thread(guard.identify, here, request, route.access)
        return await (await _planned(Call(here, request, caller, self._metrics), route, body))


async def _planned(call: Call, route: _Route, body: Body) -> Rest:
    jobs = call.services.jobs
    call.raw = await body.read(call.services.settings.max_body_bytes)
    if call.may_be_long:
        rest = await jobs.in_thread(route.plan, call, **call.request.arguments)
    else:
        rest = await jobs.here_or_in_thread(route.plan, call, **call.request.arguments)
    # The rest may wait for long.
    call.forget_body()
    body.close()
    return rest


def _cross_origin(here: Services, request: Request, route: _Route, answer: Answer) -> dict[str, str]:
    headers = cross_origin.headers(here.settings, request, of_events=route.access.takes_ticket)
    if "Vary" in headers and "Vary" in answer.headers:
        headers["Vary"] = f"{answer.headers['Vary']}, {headers['Vary']}"
    return headers


def _arguments(match: re.Match[str]) -> dict[str, str]:
    # WSGI has the bytes of the path as Latin-1 (PEP 3333).
    return {
        name: value if value.isascii() else value.encode("latin-1").decode(errors="replace")
        for name, value in match.groupdict().items()
    }
