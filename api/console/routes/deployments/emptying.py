"""Emptying the queue of a deployment: how many jobs are meant, and their cancel."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.auth.sessions import for_role
from api.deployments import service as deployment_service
from api.http.reading import validated
from api.jobs.schemas import CancelQueued
from api.process import services
from registry.roles import Role
from workers.jobs import emptying as queues
from workers.jobs.emptying import Which

blueprint = Blueprint("emptying", __name__, url_prefix="/deployments/<endpoint_name>/cancel-queued")
#: How long one form is worked on; then the page says how many jobs are left.
_BUDGET_S = 10.0
_COUNT_BUDGET_S = 1.0


@blueprint.get("")
@for_role(Role.OPERATOR)
def review(endpoint_name: str) -> str:
    """Tell how many jobs are queued, and ask which of them to cancel."""
    return _page(endpoint_name)


@blueprint.post("")
@for_role(Role.OPERATOR)
def cancel(endpoint_name: str) -> AnyResponse | str:
    """Cancel the queued jobs; if that takes long, ask whether to go on with the rest."""
    minutes = request.form.get("older_than_min") or "0"
    older_than_s = float(minutes) * 60 if minutes.isdecimal() else minutes
    named = {"older_than_s": older_than_s, "delayed": request.form.get("delayed") == "yes"}
    wanted = validated(CancelQueued, {"endpoint_name": endpoint_name, **named})
    which = Which(wanted.endpoint_name, wanted.older_than_s, wanted.delayed)
    done = queues.cancel_queued(which, budget_s=_BUDGET_S)
    if done.cursor:
        return _page(endpoint_name, cancelled=done.cancelled)
    return redirect(url_for("console.deployments.show_deployment", endpoint_name=endpoint_name, done="emptied"), 303)


def _page(endpoint_name: str, cancelled: int = 0) -> str:
    view = deployment_service.show(services.current(), endpoint_name)
    found = queues.cancel_queued(Which(endpoint_name), budget_s=_COUNT_BUDGET_S, dry_run=True)
    return render_template("console/cancel_queued.html", view=view, found=found, cancelled=cancelled)
