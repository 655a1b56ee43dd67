"""Responses that are not errors: JSON with its status and headers. Must not know features."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Response
from werkzeug.datastructures import Headers

from api.http.exchange import Answer
from api.http.flask_app.prefix import address
from workers.platform import fast_json

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


class _Complete(Response):
    """A response whose headers are sent as they are: to look for missing ones takes as long as all the rest."""

    def get_wsgi_headers(self, _environ: WSGIEnvironment) -> Headers:
        """Return the headers."""
        return self.headers


def of(answer: Answer) -> Response:
    """Return an answer as a response of the Flask app."""
    if answer.status == HTTPStatus.NO_CONTENT:
        return Response(status=answer.status, headers=answer.headers)
    return _Complete(answer.body, answer.status, {**answer.headers, "Content-Length": str(len(answer.body))})


def json_answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return JSON as an answer; a NaN in it is an error here, not at the client."""
    return _json_answer(fast_json.dumps_strict(content), status, headers)


def own_json_answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return JSON without anything of a client's or a model's in it, as an answer: `fast_json.dumps_plain`."""
    return _json_answer(fast_json.dumps_plain(content), status, headers)


def _json_answer(content: bytes, status: int, headers: Mapping[str, str] | None) -> Answer:
    return Answer(status, {"Content-Type": "application/json", **(headers or {})}, content + b"\n")


def document(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return JSON; a NaN in it is an error here, not at the client."""
    return of(json_answer(content, status, headers))


def own_document(content: Any) -> Response:
    """Return a long document of ours, in which no NaN is looked for."""
    return of(own_json_answer(content))


def nothing() -> Response:
    """Return 204."""
    return Response(status=204)


def created(content: Mapping[str, Any], location: str) -> Response:
    """Return 201 and the new resource's address, which is a path of this service."""
    return document(content, 201, {"Location": address(location)})


def preference_applied(wait_s: float | None) -> dict[str, str]:
    """Return the header that confirms `Prefer: wait=N`; none without that preference."""
    return {} if wait_s is None else {"Preference-Applied": f"wait={wait_s:g}"}
