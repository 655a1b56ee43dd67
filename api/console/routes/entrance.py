"""Logging in and out."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api import services
from api.console import sessions
from api.errors import KeyRefused, status_of
from api.guard import open_to_all

blueprint = Blueprint("entrance", __name__)
_REFUSED = "There is no such key, or it is revoked; or too many have tried just now. Wait a second, and try it again."


@blueprint.get("/login")
@open_to_all
def login_form() -> str:
    """Ask for an API key."""
    return render_template("console/login.html", wanted=request.args.get("next", ""), problem="")


@blueprint.post("/login")
@open_to_all
def log_in() -> AnyResponse | tuple[str, int]:
    """Log in with an API key, and go on to where one wanted to be."""
    wanted = request.form.get("next", "")
    if not sessions.log_in(services.current(), request.form.get("key", "")):
        return render_template("console/login.html", wanted=wanted, problem=_REFUSED), status_of(KeyRefused())
    return redirect(_own(wanted), 303)


@blueprint.post("/logout")
@open_to_all
def log_out() -> AnyResponse:
    """Log out."""
    sessions.log_out()
    return redirect(url_for(".login_form", done="logout"), 303)


def _own(wanted: str) -> str:
    """Return an address of the console's; what leads elsewhere leads to its first page."""
    home = url_for("console.overview.home")
    plain = wanted.isprintable() and "\\" not in wanted
    return wanted if plain and (wanted == home or wanted.startswith((f"{home}/", f"{home}?"))) else home
