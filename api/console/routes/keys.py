"""API keys: list, make and revoke them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as AnyResponse

from api.auth.sessions import for_role
from api.console import forms, views
from api.http.reading import validated
from api.keys import service as key_service
from api.keys.schemas import KeyCreation, KeyList
from api.process import services
from registry.errors import ApiKeyExists, ApiKeyInvalid, ApiKeyNotFound, NameInvalid
from registry.roles import Role

blueprint = Blueprint("keys", __name__, url_prefix="/keys")
_FIELD_OF = {NameInvalid: "name", ApiKeyExists: "name", ApiKeyInvalid: "endpoint_names"}


@blueprint.get("")
@for_role(Role.ADMIN)
def list_keys() -> str:
    """List the keys, with `?revoked=true` those that are revoked too."""
    wanted = KeyList(revoked="revoked" in request.args)
    found = key_service.list_all(services.current(), wanted)
    return render_template("console/keys.html", keys=found, with_revoked=wanted.revoked)


@blueprint.get("/new")
@for_role(Role.ADMIN)
def ask() -> str:
    """Ask for whom and for what a key is."""
    return _form(MultiDict({"role": Role.CLIENT.value}), {})


@blueprint.post("/new")
@for_role(Role.ADMIN)
def create() -> str | tuple[str, int]:
    """Make a key, and show its text, which no other page does."""
    here = services.current()
    sent = forms.send(lambda: key_service.create(here, _wanted(request.form)), "name", _FIELD_OF)
    if sent.made is None:
        return _form(request.form, sent.problems), sent.status
    return render_template("console/key_made.html", key=sent.made)


@blueprint.get("/<key_id>/revoke")
@for_role(Role.ADMIN)
def review_revoke(key_id: str) -> str:
    """Say what revoking does, and ask for confirmation."""
    for key in key_service.list_all(services.current(), KeyList()):
        if key["key_id"] == key_id:
            return render_template("console/key_revoke.html", key=key)
    raise ApiKeyNotFound(key_id)


@blueprint.post("/<key_id>/revoke")
@for_role(Role.ADMIN)
def revoke(key_id: str) -> AnyResponse:
    """Revoke a key."""
    key_service.revoke(services.current(), key_id)
    return redirect(url_for(".list_keys", done="revoke"), 303)


def _wanted(form: MultiDict[str, str]) -> KeyCreation:
    """Read a key from the form that was sent. Raises RequestInvalid."""
    document: dict[str, Any] = {"name": form.get("name", "").strip(), "role": form.get("role")}
    if names := form.getlist("endpoint_names"):
        document["endpoint_names"] = names
    if rate := form.get("rate_limit_per_s", "").strip():
        document["rate_limit_per_s"] = rate
    return validated(KeyCreation, {**document, "second": "second" in form})


def _form(values: MultiDict[str, str], problems: Mapping[str, str]) -> str:
    return render_template(
        "console/key_new.html",
        values=values,
        problems=problems,
        roles=list(Role),
        endpoints=views.endpoint_names(services.current()),
    )
