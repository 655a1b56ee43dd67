"""Webhooks: what was told of the ends of jobs, and what became of it; a delivery has the id of its job."""

from __future__ import annotations

from flask import Blueprint, Response

from api import identity, responses
from api.guard import needs
from api.requests import query
from api.schemas import DeliveryList, NoQuery
from registry.roles import Role
from workers.webhooks import deliveries

blueprint = Blueprint("webhooks", __name__, url_prefix="/webhooks/deliveries")


@blueprint.get("")
@needs(Role.CLIENT)
def list_deliveries() -> Response:
    """List deliveries of webhooks, newest first."""
    wanted = query(DeliveryList)
    owner = identity.current().sees_jobs_of
    found = deliveries.newest(wanted.endpoint_name, wanted.status, wanted.limit, owner)
    return responses.document({"deliveries": [each.document() for each in found]})


@blueprint.get("/<job_id>")
@needs(Role.CLIENT)
def show_delivery(job_id: str) -> Response:
    """Show the delivery of a job's webhook, with every attempt."""
    query(NoQuery)
    return responses.document(deliveries.get(job_id, identity.current().sees_jobs_of).document())


@blueprint.post("/<job_id>/redeliver")
@needs(Role.OPERATOR)
def redeliver(job_id: str) -> Response:
    """Send a job's webhook again, with all its tries; one that waits for its next try, at once."""
    query(NoQuery)
    return responses.document(deliveries.redeliver(job_id).document(), 202)
