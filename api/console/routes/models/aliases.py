"""Pages of aliases: what one names and named, and its move and deletion, each with a page that shows its effect."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.aliases import service as alias_service
from api.auth.sessions import for_role
from api.console import forms, views
from api.models import service as model_service
from api.process import services
from registry import names
from registry.errors import AliasChanged, AliasInUse, EvaluationRefused, NameInvalid, VersionNotFound
from registry.roles import Role

blueprint = Blueprint("aliases", __name__, url_prefix="/models/<model_name>")
#: Errors of a move that a user can fix, and their fields.
_FIELDS = {NameInvalid: "alias", AliasChanged: "", VersionNotFound: "version", EvaluationRefused: ""}


@blueprint.get("/aliases/<alias>")
@for_role(Role.OPERATOR)
def show_alias(model_name: str, alias: str) -> str:
    """Show an alias and its moves, also one that was deleted."""
    here = services.current()
    found = alias_service.history(here, model_name, alias)
    return render_template("console/alias.html", history=found, alias=_present(model_name, alias))


@blueprint.get("/move-alias")
@for_role(Role.OPERATOR)
def review_move(model_name: str) -> str | tuple[str, int]:
    """Ask for a version and, for a new alias, its name; once both are there, show the effect of the move."""
    given = request.args
    if not given.get("alias") or not given.get("version"):
        return _form(model_name, given, {})
    sent = forms.send(lambda: _checked(model_name, given), "alias", _FIELDS)
    if sent.made is None:
        return _again(model_name, given, sent.problems), sent.status
    rolling_out = alias_service.rolling_out(services.current(), model_name, given["alias"], given["version"])
    return render_template(
        "console/alias_review.html", model_name=model_name, wanted=given, alias=sent.made, rolling_out=rolling_out
    )


@blueprint.post("/move-alias")
@for_role(Role.OPERATOR)
def move(model_name: str) -> AnyResponse | tuple[str, int]:
    """Move an alias, unless it names another version by now than it did when it was shown."""
    form = request.form
    name = form.get("alias", "")
    sent = forms.send(
        lambda: alias_service.move(services.current(), model_name, name, forms.alias_move(form)), "alias", _FIELDS
    )
    if sent.made is None:
        return _again(model_name, form, sent.problems), sent.status
    return redirect(url_for("console.models.show_model", model_name=model_name, done="alias"), 303)


@blueprint.get("/aliases/<alias>/delete")
@for_role(Role.OPERATOR)
def review_delete(model_name: str, alias: str) -> str:
    """Say what deleting an alias does, and ask for confirmation."""
    return _delete_page(model_name, alias, {})


@blueprint.post("/aliases/<alias>/delete")
@for_role(Role.OPERATOR)
def delete(model_name: str, alias: str) -> AnyResponse | tuple[str, int]:
    """Delete an alias; show why that can't be."""
    sent = forms.send(lambda: alias_service.delete(services.current(), model_name, alias), "", {AliasInUse: ""})
    if sent.problems:
        return _delete_page(model_name, alias, sent.problems), sent.status
    return redirect(url_for("console.models.show_model", model_name=model_name, done="alias_deleted"), 303)


def _checked(model_name: str, given: Mapping[str, str]) -> views.View:
    """Return an alias as it is; as one that names nothing if it would be new.

    Raises:
        NameInvalid, VersionNotFound, RequestInvalid: it can't be moved so.
        AliasChanged: it names another version than the one that was shown.
    """
    wanted, name = forms.alias_move(given), given["alias"]
    names.check_alias_name(name)
    model_service.show_version(services.current(), model_name, wanted.version)
    found = _present(model_name, name)
    now = None if found is None else str(found["version"])
    if wanted.expected != now:
        raise AliasChanged(model_name, name, wanted.expected, now)
    return found or {"alias": name, "version": None, "followed_by": []}


def _present(model_name: str, alias: str) -> views.View | None:
    """Return an alias as it is now; None if there is none."""
    found = alias_service.list_all(services.current(), model_name)
    return next((each for each in found if each["alias"] == alias), None)


def _again(model_name: str, given: Mapping[str, str], problems: Mapping[str, str]) -> str:
    """Ask again for a move that is refused, which now begins with what the alias names by now."""
    now = _present(model_name, given.get("alias", ""))
    return _form(model_name, {**given, "expected": now["version"] if now else ""}, problems)


def _form(model_name: str, values: Mapping[str, str], problems: Mapping[str, str]) -> str:
    model = model_service.show_model(services.current(), model_name)
    return render_template("console/alias_move.html", model=model, values=values, problems=problems)


def _delete_page(model_name: str, alias: str, problems: Mapping[str, str]) -> str:
    found = alias_service.show(services.current(), model_name, alias)
    return render_template("console/alias_delete.html", alias=found, problems=problems)
