"""Registering a version by upload."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response as AnyResponse

from api.auth.sessions import for_role
from api.console import registering
from api.models import service as model_service
from api.models import upload
from api.process import services
from registry.roles import Role

blueprint = Blueprint("registering", __name__, url_prefix="/register")


@blueprint.get("")
@for_role(Role.ADMIN)
def ask() -> str:
    """Ask for a file and what describes it."""
    return _form(request.args, {})


@blueprint.post("")
@for_role(Role.ADMIN)
def register() -> AnyResponse | tuple[str, int]:
    """Register what was sent; show what is wrong with it at its field."""
    sent = registering.register(services.current(), request.form)
    if sent.made is None:
        return _form(request.form, sent.problems), sent.status
    return redirect(url_for("console.models.show_model", model_name=sent.made["model_name"], done="register"), 303)


@blueprint.errorhandler(RequestEntityTooLarge)
def too_large(error: RequestEntityTooLarge) -> tuple[str, int]:
    """Say it at the file's field; what else was typed was not read."""
    return _form({}, {"artifact": upload.limits(services.current().settings)}), error.code


def make_room() -> None:
    """Let an upload be as large as one of a program, before its form is read; the guard has let its sender in."""
    if request.endpoint == "console.registering.register":
        upload.make_room(services.current().settings)


def _form(values: Mapping[str, str], problems: Mapping[str, str]) -> str:
    here = services.current()
    return render_template(
        "console/register.html",
        values=values,
        problems=problems,
        models=[each["name"] for each in model_service.list_models(here)],
        runtimes=registering.choices(),
        most_bytes=here.settings.max_artifact_bytes,
    )
