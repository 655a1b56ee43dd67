"""The page of the HTTP API, with forms to send requests: for everybody at /docs, and inside the console.

Browsers don't send the console's cookie to /docs. So who is logged in has the page below /console too, with its menu.
"""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.auth.sessions import for_role
from api.http.route import OPEN, Access
from registry.roles import Role

blueprint = Blueprint("docs", __name__, url_prefix="/api")


def made() -> Blueprint:
    """Return the blueprint of the page for everybody, a new one for each app."""
    open_to_all = Blueprint("docs", __name__)
    open_to_all.add_url_rule("/docs", "docs", docs)
    open_to_all.add_url_rule("/", "home", home)
    return open_to_all


@Access(OPEN)
def docs() -> str:
    """Show the page."""
    return render_template("console/docs.html", root="./")


@Access(OPEN)
def home() -> AnyResponse:
    """Lead a browser to the page."""
    return redirect(url_for(".docs") if request.script_root else "docs")


@blueprint.get("")
@for_role(Role.CLIENT)
def page() -> str:
    """Show the page to who is logged in."""
    return render_template("console/docs.html", root="../")
