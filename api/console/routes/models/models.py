"""Models and their versions."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.auth.sessions import for_role
from api.console import forms, views
from api.models import service as model_service
from api.process import services
from registry.errors import VersionAliased, VersionInUse, VersionJudged
from registry.roles import Role

blueprint = Blueprint("models", __name__, url_prefix="/models")


@blueprint.get("")
@for_role(Role.OPERATOR)
def list_models() -> str | tuple[str, int]:
    """List the models, perhaps only those that a search finds."""
    sent = forms.send(lambda: model_service.list_models(services.current(), forms.model_search(request.args)), "q")
    wanted = {name: value for name in ("q", "tag") if (value := request.args.get(name))}
    page = render_template("console/models.html", models=sent.made or [], wanted=wanted, problems=sent.problems)
    return page, sent.status


@blueprint.get("/<model_name>")
@for_role(Role.OPERATOR)
def show_model(model_name: str) -> str:
    """Show a model's versions."""
    return render_template("console/model.html", **views.model(services.current(), model_name))


@blueprint.get("/<model_name>/versions/<version>/delete")
@for_role(Role.ADMIN)
def review_delete(model_name: str, version: str) -> str:
    """Say what deleting a version does, and ask for confirmation."""
    return _delete_page(model_name, version, {})


@blueprint.post("/<model_name>/versions/<version>/delete")
@for_role(Role.ADMIN)
def delete_version(model_name: str, version: str) -> AnyResponse | tuple[str, int]:
    """Delete a version; show why that can't be."""
    here = services.current()
    refusals: Mapping[type[Exception], str] = {VersionInUse: "", VersionAliased: "", VersionJudged: ""}
    sent = forms.send(lambda: model_service.delete_version(here, model_name, version), "", refusals)
    if sent.problems:
        return _delete_page(model_name, version, sent.problems), sent.status
    left = any(each["name"] == model_name for each in model_service.list_models(here))
    address = (
        url_for(".show_model", model_name=model_name, done="delete") if left else url_for(".list_models", done="delete")
    )
    return redirect(address, 303)


def _delete_page(model_name: str, version: str, problems: Mapping[str, str]) -> str:
    here = services.current()
    return render_template(
        "console/version_delete.html",
        version=model_service.show_version(here, model_name, version),
        endpoints=views.bound(here, model_name).get(version, []),
        problems=problems,
    )
