"""Dead letters: the newest, one of them, replay and discard."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.auth import identity
from api.auth.sessions import for_role
from api.console import forms, views
from api.jobs import replays
from api.process import services
from registry.roles import Role
from workers.jobs import dead_letters

blueprint = Blueprint("dead_letters", __name__, url_prefix="/dead-letters")


@blueprint.get("")
@for_role(Role.OPERATOR)
def list_letters() -> str:
    """List the jobs that were given up, newest first."""
    endpoint_name = request.args.get("endpoint_name") or None
    found = views.letters(endpoint_name)
    return render_template("console/dead_letters.html", letters=found, endpoint_name=endpoint_name)


@blueprint.get("/<job_id>")
@for_role(Role.OPERATOR)
def show_letter(job_id: str) -> str:
    """Show a job that was given up, with its input and the reason of every attempt."""
    return _page(job_id)


@blueprint.get("/<job_id>/replay")
@for_role(Role.OPERATOR)
def review_replay(job_id: str) -> str:
    """Ask where to send it again."""
    return _page(job_id, asks="replay")


@blueprint.post("/<job_id>/replay")
@for_role(Role.OPERATOR)
def replay(job_id: str) -> AnyResponse | tuple[str, int]:
    """Send it again, as a new job; show why that can't be."""
    target = request.form.get("endpoint_name") or None
    sent = forms.send(lambda: replays.replay(services.current(), identity.current(), job_id, target), "endpoint_name")
    if sent.made is None:
        return _page(job_id, asks="replay", target=target, problems=sent.problems), sent.status
    return redirect(url_for("console.jobs.show_job", job_id=sent.made.job.job_id, done="replay"), 303)


@blueprint.get("/<job_id>/discard")
@for_role(Role.OPERATOR)
def review_discard(job_id: str) -> str:
    """Ask whether to discard it."""
    return _page(job_id, asks="discard")


@blueprint.post("/<job_id>/discard")
@for_role(Role.OPERATOR)
def discard(job_id: str) -> AnyResponse:
    """Discard it for good."""
    dead_letters.discard(job_id)
    return redirect(url_for(".list_letters", done="discard"), 303)


def _page(job_id: str, *, asks: str = "", target: str | None = None, problems: object = ()) -> str:
    letter = dead_letters.get(job_id).document()
    endpoints = views.open_endpoints(services.current()) if asks == "replay" else []
    return render_template(
        "console/dead_letter.html",
        letter=letter,
        asks=asks,
        endpoints=[each.endpoint_name for each in endpoints],
        target=target or letter["endpoint_name"],
        problems=problems,
    )
