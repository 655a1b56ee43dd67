"""The first page, and the files that all pages need."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import NoReturn

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from api.auth import identity
from api.auth.sessions import for_role
from api.console import views
from api.http.route import OPEN, Access
from api.process import services
from registry.roles import Role

blueprint = Blueprint("overview", __name__)
_MEDIA_TYPES = {
    "console.css": "text/css",
    "console.js": "text/javascript",
    "docs.css": "text/css",
    "docs.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "upload.js": "text/javascript",
}


@blueprint.get("", strict_slashes=False)
@for_role(Role.CLIENT)
def home() -> AnyResponse | str:
    """Show operators the overview; redirect others to the endpoints that they may try."""
    if not identity.current().role.includes(Role.OPERATOR):
        return redirect(url_for("console.trying.list_endpoints"), 303)
    return render_template("console/overview.html", **views.overview(services.current()))


@blueprint.get("/static/<name>")
@Access(OPEN)
def file(name: str) -> AnyResponse:
    """Send the style sheet, the script or the icon."""
    if name not in _MEDIA_TYPES:
        raise NotFound
    response = Response(_content(name), mimetype=_MEDIA_TYPES[name], headers={"Cache-Control": "no-cache"})
    response.add_etag()
    return response.make_conditional(request)


@blueprint.get("/<path:rest>")
@for_role(Role.CLIENT)
def nothing(rest: str) -> NoReturn:
    """Answer 404 with a page of the console."""
    raise NotFound(f"The console has no page at {rest!r}.")


@lru_cache(maxsize=len(_MEDIA_TYPES))
def _content(name: str) -> bytes:
    return files("api.console").joinpath("static", name).read_bytes()
