"""Routes of webhook deliveries: show them and send them again; a delivery has the id of its job."""

from __future__ import annotations

from flask import Blueprint, Response

from api.auth import identity
from api.http.flask_app import responses
from api.http.flask_app.requests import query
from api.http.route import Operation
from api.http.schema import NoQuery
from api.webhooks.schemas import DeliveryList, WebhookDeliveries, WebhookDelivery
from registry.roles import Role
from workers.webhooks import store as deliveries

blueprint = Blueprint("webhooks", __name__, url_prefix="/webhooks/deliveries")


@blueprint.get("")
@Operation(Role.CLIENT, "Webhooks", {200: WebhookDeliveries}, query=DeliveryList, errors=(503,))
def list_deliveries() -> Response:
    """List deliveries of webhooks, newest first."""
    wanted = query(DeliveryList)
    caller = identity.current()
    found = deliveries.newest(wanted.endpoint_name, wanted.status, wanted.limit, caller.sees_jobs_of)
    return responses.document({"deliveries": [each.document(with_answers=caller.sees_answers) for each in found]})


@blueprint.get("/<job_id>")
@Operation(Role.CLIENT, "Webhooks", {200: WebhookDelivery}, errors=(404, 422, 503))
def show_delivery(job_id: str) -> Response:
    """Show the delivery of a job's webhook, with every attempt."""
    query(NoQuery)
    caller = identity.current()
    found = deliveries.get(job_id, caller.sees_jobs_of)
    return responses.document(found.document(with_answers=caller.sees_answers))


@blueprint.post("/<job_id>/redeliver")
@Operation(Role.OPERATOR, "Webhooks", {202: WebhookDelivery}, errors=(404, 422, 503))
def redeliver(job_id: str) -> Response:
    """Send a job's webhook again, with all its tries; one that waits for its next try, at once."""
    query(NoQuery)
    return responses.document(deliveries.redeliver(job_id).document(with_answers=True), 202)
