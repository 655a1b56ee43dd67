"""The page that shows the API and lets one try it; one static file, no other host is asked."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

from flask import Blueprint, Response, redirect
from werkzeug.wrappers import Response as AnyResponse

from api.guard import open_to_all

blueprint = Blueprint("docs", __name__)
#: The page may run its own script and talk to this API, and nothing else.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@lru_cache(maxsize=1)
def _page() -> bytes:
    return files("api").joinpath("static", "docs.html").read_bytes()


@blueprint.get("/docs")
@open_to_all
def docs() -> Response:
    """Show the documentation page."""
    response = Response(_page(), mimetype="text/html")
    response.headers["Content-Security-Policy"] = _POLICY
    return response


@blueprint.get("/")
@open_to_all
def home() -> AnyResponse:
    """Lead a browser to the documentation."""
    return redirect("docs")
