"""Logging in and out."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.auth import sessions
from api.errors import KeyRefused, status_of
from api.http.route import OPEN, Access
from api.process import services

blueprint = Blueprint("entrance", __name__)
_REFUSED = "There is no such key, or it is revoked."


@blueprint.get("/login")
@Access(OPEN)
def login_form() -> str:
    """Ask for an API key."""
    return render_template("console/login.html", wanted=request.args.get("next", ""), problem="")


@blueprint.post("/login")
@Access(OPEN)
def log_in() -> AnyResponse | tuple[str, int]:
    """Log in with an API key, and go on to the wanted page."""
    wanted = request.form.get("next", "")
    if not sessions.log_in(services.current(), request.form.get("key", "")):
        return render_template("console/login.html", wanted=wanted, problem=_REFUSED), status_of(KeyRefused())
    return redirect(_own(wanted), 303)


@blueprint.post("/logout")
@Access(OPEN)
def log_out() -> AnyResponse:
    """Log out."""
    sessions.log_out()
    return redirect(url_for(".login_form", done="logout"), 303)


def _own(wanted: str) -> str:
    """Return an address of the console; for all other addresses, its first page."""
    home = url_for("console.overview.home")
    plain = wanted.isprintable() and "\\" not in wanted
    return wanted if plain and (wanted == home or wanted.startswith((f"{home}/", f"{home}?"))) else home
