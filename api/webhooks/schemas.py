"""What requests about webhooks contain, and what is answered."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from api.http.schema import MAX_JOBS_LISTED, Answer, EndpointFilter, RequestSchema
from workers.webhooks.store import DeliveryStatus


class DeliveryList(RequestSchema):
    """Parameters of `GET /webhooks/deliveries`."""

    endpoint_name: EndpointFilter | None = None
    status: DeliveryStatus | None = None
    limit: int = Field(default=50, ge=1, le=MAX_JOBS_LISTED)


class WebhookAttempt(Answer):
    """One try to deliver a webhook."""

    at: datetime
    status_code: int | None = Field(description="Of the receiver's answer, if there was one.")
    error: str | None = Field(description="Why the attempt failed.")
    duration_ms: float
    answer: str | None = Field(description="The beginning of the receiver's response; shown to operators only.")


class WebhookDelivery(Answer):
    """The webhook of a job's end, and its attempts."""

    job_id: str
    webhook_id: str = Field(description="The header `webhook-id`, the same at each attempt.")
    endpoint_name: str
    owner: str | None = Field(description="The name of the API key that the job was submitted with.")
    callback_url: str = Field(description="Without its query, which may hold tokens.")
    status: DeliveryStatus
    created_at: datetime = Field(description="When the job ended.")
    next_attempt_at: datetime | None
    attempts: list[WebhookAttempt] = Field(description="The last 20, oldest first.")


class WebhookDeliveries(Answer):
    """Deliveries of webhooks, newest first."""

    deliveries: list[WebhookDelivery]
