"""Answers a test client's requests as the server does: hot operations without Flask, all others with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.wsgi import get_content_length

from api.edge.handler import Handler
from api.errors import BodyTooLarge, RequestMalformed
from api.http.exchange import Answer
from api.http.flask_app import bodies
from api.process.job_loop import default_job_loop


class EdgeFirst:
    """A WSGI app: the handler of hot operations before a Flask app."""

    def __init__(self, app: Flask) -> None:
        self._flask = app.wsgi_app
        self._handler = Handler(app)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        answering = self._handler(environ, _Body(environ))
        if answering is None:
            return self._flask(environ, start_response)

        async def answered() -> Answer:
            return await answering

        answer = default_job_loop().run(answered())
        body = _collected(answer)
        headers = [*answer.headers.items()]
        if answer.stream is None and answer.status != 204:
            headers.append(("Content-Length", str(len(answer.body))))
        start_response(f"{answer.status} {HTTP_STATUS_CODES[answer.status]}", headers)
        return [body]


def _collected(answer: Answer) -> bytes:
    """Return the body, or all frames of a stream."""
    stream = answer.stream
    if stream is None:
        return answer.body

    async def all_of_it() -> bytes:
        try:
            return b"".join([frame async for frame in stream])
        finally:
            await stream.aclose()  # type: ignore[attr-defined]

    return default_job_loop().run(all_of_it())


class _Body:
    def close(self) -> None:
        pass

    def __init__(self, environ: dict[str, Any]) -> None:
        self._environ = environ

    async def read(self, most_bytes: int) -> bytes:
        length = get_content_length(self._environ)
        if length is not None and length > most_bytes:
            raise BodyTooLarge(most_bytes)
        request = bodies.Request(self._environ)
        request.max_content_length = most_bytes
        try:
            return request.get_data(cache=False)
        except RequestEntityTooLarge as error:
            raise BodyTooLarge(most_bytes) from error
        except OSError as error:
            raise RequestMalformed(str(error)) from error
