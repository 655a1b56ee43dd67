"""Routes of webhooks: deliveries, which are shown and sent again, and subscriptions to events."""

from __future__ import annotations

from flask import Blueprint, Response

from api.auth import identity
from api.http.flask_app import responses
from api.http.flask_app.requests import body, query
from api.http.route import Operation
from api.http.schema import NoQuery
from api.process import services
from api.webhooks import service
from api.webhooks.schemas import (
    DeliveryList,
    SubscriptionCreation,
    WebhookDeliveries,
    WebhookDelivery,
    WebhookSubscription,
    WebhookSubscriptions,
)
from registry.roles import Role
from workers.webhooks import store as deliveries

blueprint = Blueprint("webhooks", __name__, url_prefix="/webhooks")
_SUBSCRIPTION_EXAMPLE = {"url": "https://hooks.example.com/queuecast", "events": ["rollout.aborted"]}


@blueprint.get("/deliveries")
@Operation(Role.CLIENT, "Webhooks", {200: WebhookDeliveries}, query=DeliveryList, errors=(503,))
def list_deliveries() -> Response:
    """List deliveries of webhooks, newest first."""
    wanted = query(DeliveryList)
    caller = identity.current()
    found = deliveries.newest(wanted.endpoint_name, wanted.status, wanted.limit, caller.sees_jobs_of)
    return responses.document({"deliveries": [each.document(with_answers=caller.sees_answers) for each in found]})


@blueprint.get("/deliveries/<job_id>")
@Operation(Role.CLIENT, "Webhooks", {200: WebhookDelivery}, errors=(404, 422, 503))
def show_delivery(job_id: str) -> Response:
    """Show the delivery of a job's or an event's webhook, with every attempt."""
    query(NoQuery)
    caller = identity.current()
    found = deliveries.get(job_id, caller.sees_jobs_of)
    return responses.document(found.document(with_answers=caller.sees_answers))


@blueprint.post("/deliveries/<job_id>/redeliver")
@Operation(Role.OPERATOR, "Webhooks", {202: WebhookDelivery}, errors=(404, 422, 503))
def redeliver(job_id: str) -> Response:
    """Send a webhook again, with all its tries; one that waits for its next try, at once."""
    query(NoQuery)
    return responses.document(deliveries.redeliver(job_id).document(with_answers=True), 202)


@blueprint.post("/subscriptions")
@Operation(
    Role.OPERATOR,
    "Webhooks",
    {201: WebhookSubscription},
    body=SubscriptionCreation,
    errors=(503, 507),
    example=_SUBSCRIPTION_EXAMPLE,
)
def subscribe() -> Response:
    """Subscribe a URL to events of rollouts, shadows and evaluations; each is a signed webhook."""
    made = service.subscribe(services.current(), body(SubscriptionCreation))
    return responses.created(made, f"/webhooks/subscriptions/{made['subscription_id']}")


@blueprint.get("/subscriptions")
@Operation(Role.OPERATOR, "Webhooks", {200: WebhookSubscriptions}, errors=(503,))
def list_subscriptions() -> Response:
    """List the subscriptions to events, oldest first."""
    query(NoQuery)
    return responses.document({"subscriptions": service.list_all(services.current())})


@blueprint.delete("/subscriptions/<subscription_id>")
@Operation(Role.OPERATOR, "Webhooks", {204: None}, errors=(404, 503, 507))
def unsubscribe(subscription_id: str) -> Response:
    """End a subscription; webhooks that wait for their next attempt are still sent."""
    service.unsubscribe(services.current(), subscription_id)
    return responses.nothing()
