"""The page of an endpoint's rollout: weights, both versions side by side, history, and what a caller can do with it."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from api.auth.sessions import for_role
from api.console import forms
from api.console.reports.section import report_section
from api.console.views import other_versions
from api.http.reading import validated
from api.process import services
from api.rollouts import service
from api.rollouts.schemas import RolloutStart
from api.rollouts.service import Transition
from registry.errors import (
    EvaluationRefused,
    RolloutRefused,
    SettingsInvalid,
    TrialActive,
    TrialRefused,
    VersionNotFound,
)
from registry.roles import Role

_TEXTS = ("version", "start", "on_failure")
_NUMBERS = ("step_s", "min_jobs")
_RULES = ("errors", "latency_p95", "disagreement")
#: Switches a rule off.
_OFF = "off"
_FIXABLE = {
    EvaluationRefused: "",
    SettingsInvalid: "steps",
    TrialActive: "",
    TrialRefused: "",
    VersionNotFound: "version",
}
blueprint = Blueprint("rollouts", __name__, url_prefix="/deployments/<endpoint_name>")
#: What a caller can do, by the last part of the address: the transition, and the states in which it is offered.
_TRANSITIONS: dict[str, tuple[Transition, tuple[str, ...]]] = {
    "pause": (service.pause, ("running",)),
    "resume": (service.resume, ("paused",)),
    "promote": (service.promote, ("running", "paused")),
    "abort": (service.abort, ("evaluating", "loading", "running", "paused")),
}


@blueprint.get("/rollout")
@for_role(Role.OPERATOR)
def show_rollout(endpoint_name: str) -> str:
    """Show the active or else the latest rollout."""
    here = services.current()
    found = service.show_rollout(here, endpoint_name)
    offered = [name for name, (_, states) in _TRANSITIONS.items() if found["state"] in states]
    earlier = service.list_rollouts(here, endpoint_name)["rollouts"][1:]
    report = report_section(found["report"]) if found["report"] else None
    return render_template("console/rollout.html", rollout=found, offered=offered, earlier=earlier, report=report)


@blueprint.get("/rollout/new")
@for_role(Role.OPERATOR)
def new_rollout(endpoint_name: str) -> str:
    """Ask which version to roll out, and how."""
    return _form(endpoint_name, request.args, {})


@blueprint.post("/rollout/new")
@for_role(Role.OPERATOR)
def start(endpoint_name: str) -> AnyResponse | tuple[str, int]:
    """Start a rollout."""
    form = request.form
    sent = forms.send(
        lambda: service.start_rollout(services.current(), endpoint_name, _wanted(form)), "version", _FIXABLE
    )
    if sent.made is None:
        return _form(endpoint_name, form, sent.problems), sent.status
    return redirect(url_for(".show_rollout", endpoint_name=endpoint_name, done="rollout"), 303)


@blueprint.get("/rollout/<transition>")
@for_role(Role.OPERATOR)
def review_transition(endpoint_name: str, transition: str) -> str:
    """Say what a transition does, and ask for confirmation."""
    return _review(endpoint_name, transition, {})


@blueprint.post("/rollout/<transition>")
@for_role(Role.OPERATOR)
def steer(endpoint_name: str, transition: str) -> AnyResponse | tuple[str, int]:
    """Make a transition; show why that can't be."""
    known, reason = _known(transition), request.form.get("reason", "").strip() or None
    sent = forms.send(lambda: service.steer(services.current(), endpoint_name, known, reason), "", {RolloutRefused: ""})
    if sent.problems:
        return _review(endpoint_name, transition, sent.problems), sent.status
    return redirect(url_for(".show_rollout", endpoint_name=endpoint_name), 303)


def _wanted(form: Mapping[str, str]) -> RolloutStart:
    """Read a rollout from the fields of a form; empty ones are not named. Raises RequestInvalid."""
    found: dict[str, object] = {name: form[name] for name in _TEXTS if form.get(name)}
    found |= {name: forms.plain_value(form[name]) for name in _NUMBERS if form.get(name)}
    if steps := form.get("steps", "").strip():
        found["steps"] = [forms.plain_value(each.strip().removesuffix("%")) for each in steps.split(",")]
    rules = {name: form[f"rules.{name}"].strip() for name in _RULES if form.get(f"rules.{name}")}
    found["rules"] = {name: None if text == _OFF else forms.plain_value(text) for name, text in rules.items()}
    return validated(RolloutStart, found)


def _form(endpoint_name: str, values: Mapping[str, str], problems: Mapping[str, str]) -> str:
    view, versions = other_versions(services.current(), endpoint_name)
    # A problem of one step is one of the field.
    named = {"steps" if name.startswith("steps[") else name: text for name, text in problems.items()}
    return render_template("console/rollout_new.html", view=view, versions=versions, values=values, problems=named)


def _review(endpoint_name: str, transition: str, problems: Mapping[str, str]) -> str:
    _known(transition)
    found = service.show_rollout(services.current(), endpoint_name)
    return render_template("console/rollout_review.html", rollout=found, transition=transition, problems=problems)


def _known(transition: str) -> Transition:
    if transition not in _TRANSITIONS:
        raise NotFound
    return _TRANSITIONS[transition][0]
