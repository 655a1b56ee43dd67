"""The page of an endpoint's rollout: weights, both versions side by side, history, and what a caller can do with it."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as AnyResponse

from api.auth.sessions import for_role
from api.console import forms
from api.process import services
from api.rollouts import service
from api.rollouts.service import Transition
from registry.errors import RolloutRefused
from registry.roles import Role

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
    return render_template("console/rollout.html", rollout=found, offered=offered, earlier=earlier)


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


def _review(endpoint_name: str, transition: str, problems: Mapping[str, str]) -> str:
    _known(transition)
    found = service.show_rollout(services.current(), endpoint_name)
    return render_template("console/rollout_review.html", rollout=found, transition=transition, problems=problems)


def _known(transition: str) -> Transition:
    if transition not in _TRANSITIONS:
        raise NotFound
    return _TRANSITIONS[transition][0]
