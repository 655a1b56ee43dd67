"""The page of an endpoint's shadow: its copies and its report, the form that starts one, and its stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.auth.sessions import for_role
from api.console import forms
from api.console.reports.section import report_section
from api.console.views import other_versions
from api.http.reading import validated
from api.process import services
from api.rollouts import service
from api.rollouts.schemas import ShadowStart
from registry.errors import ShadowNotFound, TrialActive, TrialRefused, VersionNotFound
from registry.roles import Role

blueprint = Blueprint("shadows", __name__, url_prefix="/deployments/<endpoint_name>/shadow")
_FIXABLE = {TrialActive: "", TrialRefused: "", VersionNotFound: "version"}


@blueprint.get("")
@for_role(Role.OPERATOR)
def show_shadow(endpoint_name: str) -> str:
    """Show the running or else the latest shadow; without one, how to start it."""
    found = _found(endpoint_name)
    report = report_section(found["report"]) if found and found["report"] else None
    return render_template("console/shadow.html", endpoint_name=endpoint_name, shadow=found, report=report)


@blueprint.get("/new")
@for_role(Role.OPERATOR)
def new_shadow(endpoint_name: str) -> str:
    """Ask which version predicts a copy of which share of the jobs."""
    return _form(endpoint_name, request.args, {})


@blueprint.post("/new")
@for_role(Role.OPERATOR)
def start(endpoint_name: str) -> AnyResponse | tuple[str, int]:
    """Start a shadow."""
    form = request.form
    sent = forms.send(
        lambda: service.start_shadow(services.current(), endpoint_name, _wanted(form)), "version", _FIXABLE
    )
    if sent.made is None:
        return _form(endpoint_name, form, sent.problems), sent.status
    return redirect(url_for(".show_shadow", endpoint_name=endpoint_name, done="shadow"), 303)


@blueprint.get("/stop")
@for_role(Role.OPERATOR)
def review_stop(endpoint_name: str) -> str:
    """Say what a stop does, and ask for confirmation."""
    found = service.show_shadow(services.current(), endpoint_name)
    return render_template("console/shadow_stop.html", shadow=found)


@blueprint.post("/stop")
@for_role(Role.OPERATOR)
def stop(endpoint_name: str) -> AnyResponse:
    """Stop the shadow."""
    service.stop_shadow(services.current(), endpoint_name)
    return redirect(url_for(".show_shadow", endpoint_name=endpoint_name, done="shadow_stopped"), 303)


def _found(endpoint_name: str) -> dict[str, Any] | None:
    try:
        return service.show_shadow(services.current(), endpoint_name)
    except ShadowNotFound:
        return None


def _wanted(form: Mapping[str, str]) -> ShadowStart:
    """Read a shadow from the fields of a form; empty ones are not named. Raises RequestInvalid."""
    given = {name: forms.plain_value(form[name]) for name in ("share",) if form.get(name)}
    return validated(ShadowStart, {"version": form.get("version"), **given})


def _form(endpoint_name: str, values: Mapping[str, str], problems: Mapping[str, str]) -> str:
    view, versions = other_versions(services.current(), endpoint_name)
    return render_template("console/shadow_new.html", view=view, versions=versions, values=values, problems=problems)
