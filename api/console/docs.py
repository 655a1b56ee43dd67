"""The page at /docs: the OpenAPI document, and forms to send requests; in the console's frame, for everybody."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.http.route import OPEN, Access


def made() -> Blueprint:
    """Return its blueprint, a new one for each app."""
    blueprint = Blueprint("docs", __name__)
    blueprint.add_url_rule("/docs", "docs", docs)
    blueprint.add_url_rule("/", "home", home)
    return blueprint


@Access(OPEN)
def docs() -> str:
    """Show the page."""
    return render_template("console/docs.html")


@Access(OPEN)
def home() -> AnyResponse:
    """Lead a browser to the page."""
    return redirect(url_for(".docs") if request.script_root else "docs")
