"""Every response carries `X-Request-ID`: the caller's own, or a new one."""

from __future__ import annotations

import re

from flask import Flask, Response, g, request

from workers.platform.ids import new_id

HEADER = "X-Request-ID"
_USABLE = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def current() -> str:
    """Return the id of the request that is being answered."""
    if "request_id" not in g:
        given = request.headers.get(HEADER, "")
        g.request_id = given if _USABLE.fullmatch(given) else new_id()
    return str(g.request_id)


def _stamp(response: Response) -> Response:
    response.headers[HEADER] = current()
    return response


def install(app: Flask) -> None:
    """Stamp every response of this app, errors too."""
    app.after_request(_stamp)
