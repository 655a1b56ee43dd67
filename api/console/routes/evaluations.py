"""Pages of evaluations: the list, one with its report, the form that begins one, and its cancel or deletion."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.auth.sessions import for_role
from api.console import forms
from api.console.reports.section import report_section
from api.console.views import other_versions
from api.evaluations import service
from api.evaluations.schemas import NewEvaluation
from api.http.reading import validated
from api.process import services
from registry.errors import EvaluationRefused, EvaluationUnfinished, VersionNotFound
from registry.roles import Role

blueprint = Blueprint("evaluations", __name__, url_prefix="/evaluations")
_TEXTS = ("endpoint_name", "version", "since")
_NUMBERS = {"max_jobs": int, "control": float, "tolerance": float, "margin": float}
_FIXABLE = {EvaluationRefused: "", VersionNotFound: "version"}


@blueprint.get("")
@for_role(Role.OPERATOR)
def list_evaluations() -> str:
    """List the newest evaluations, of one endpoint or of all."""
    endpoint_name = request.args.get("endpoint_name") or None
    found = service.list_all(services.current(), endpoint_name)
    return render_template("console/evaluations.html", evaluations=found, endpoint_name=endpoint_name)


@blueprint.get("/new")
@for_role(Role.OPERATOR)
def new_evaluation() -> str:
    """Ask which version of an endpoint's model to evaluate, on which jobs."""
    return _form(request.args, {})


@blueprint.post("/new")
@for_role(Role.OPERATOR)
def begin() -> AnyResponse | tuple[str, int]:
    """Begin an evaluation."""
    form = request.form
    sent = forms.send(lambda: service.create(services.current(), _wanted(form)), "version", _FIXABLE)
    if sent.made is None:
        return _form(form, sent.problems), sent.status
    return redirect(url_for(".show_evaluation", evaluation_id=sent.made["evaluation_id"]), 303)


@blueprint.get("/<evaluation_id>")
@for_role(Role.OPERATOR)
def show_evaluation(evaluation_id: str) -> str:
    """Show an evaluation: its progress, and then its report."""
    return _page(evaluation_id, {})


@blueprint.post("/<evaluation_id>/remove")
@for_role(Role.OPERATOR)
def remove(evaluation_id: str) -> AnyResponse | tuple[str, int]:
    """Cancel an evaluation that has not ended, or delete one that has."""
    sent = forms.send(lambda: [service.remove(services.current(), evaluation_id)], "", {EvaluationUnfinished: ""})
    if sent.made is None:
        return _page(evaluation_id, sent.problems), sent.status
    if sent.made[0] is None:
        return redirect(url_for(".list_evaluations", done="evaluation_deleted"), 303)
    return redirect(url_for(".show_evaluation", evaluation_id=evaluation_id, done="evaluation_cancelled"), 303)


def _wanted(form: Mapping[str, str]) -> NewEvaluation:
    """Read an evaluation from the fields of a form; empty ones are not named. Raises RequestInvalid."""
    found: dict[str, object] = {name: form[name] for name in _TEXTS if form.get(name)}
    for name, kind in _NUMBERS.items():
        if text := form.get(name):
            try:
                found[name] = kind(text)
            except ValueError:
                found[name] = text  # the schema says what is wrong
    return validated(NewEvaluation, found)


def _page(evaluation_id: str, problems: Mapping[str, str]) -> str:
    found = service.show(services.current(), evaluation_id)
    is_open = found["state"] in ("waiting", "loading", "replaying")
    report = None if found["report"] is None else report_section(found["report"], links_jobs=found["since"] is not None)
    return render_template(
        "console/evaluation.html", evaluation=found, report=report, is_open=is_open, problems=problems
    )


def _form(values: Mapping[str, str], problems: Mapping[str, str]) -> str:
    view, versions = other_versions(services.current(), values.get("endpoint_name", ""))
    return render_template("console/evaluate.html", view=view, versions=versions, values=values, problems=problems)
