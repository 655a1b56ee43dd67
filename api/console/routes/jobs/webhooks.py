"""Deliveries of webhooks: the newest, one of them with its attempts, and sending one again."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.auth import identity
from api.auth.sessions import for_role
from api.console import views
from api.http.reading import validated
from api.process import services
from api.webhooks.schemas import DeliveryList
from registry.roles import Role
from workers.webhooks import store as deliveries
from workers.webhooks.store import DeliveryStatus

blueprint = Blueprint("webhooks", __name__, url_prefix="/webhooks")


@blueprint.get("")
@for_role(Role.CLIENT)
def list_deliveries() -> str:
    """List deliveries, newest first."""
    caller = identity.current()
    filters = {name: value for name in ("endpoint_name", "status") if (value := request.args.get(name))}
    wanted = validated(DeliveryList, filters)
    found = deliveries.newest(wanted.endpoint_name, wanted.status, wanted.limit, caller.sees_jobs_of)
    return render_template(
        "console/webhooks.html",
        deliveries=[each.document(with_answers=caller.sees_answers) for each in found],
        wanted=wanted,
        states=list(DeliveryStatus),
        endpoints=views.endpoint_names(services.current()),
    )


@blueprint.get("/<job_id>")
@for_role(Role.CLIENT)
def show_delivery(job_id: str) -> str:
    """Show the delivery of a job's webhook, with its attempts."""
    caller = identity.current()
    found = deliveries.get(job_id, caller.sees_jobs_of)
    return render_template("console/webhook.html", delivery=found.document(with_answers=caller.sees_answers))


@blueprint.post("/<job_id>/redeliver")
@for_role(Role.OPERATOR)
def redeliver(job_id: str) -> AnyResponse:
    """Send it again with all its tries, or at once if it waits for its next one."""
    deliveries.redeliver(job_id)
    return redirect(url_for(".show_delivery", job_id=job_id, done="redeliver"), 303)
