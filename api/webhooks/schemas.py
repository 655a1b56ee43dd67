"""What requests about webhooks contain, and what is answered."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from api.http.schema import MAX_JOBS_LISTED, Answer, EndpointFilter, EndpointName, RequestSchema
from registry.judging.subscriptions import MAX_ENDPOINTS, MAX_URL_LENGTH, EventKind
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
    """The webhook of a job's end or of an event, and its attempts."""

    id: str = Field(description="The id of the delivery: that of the job, or a name that follows from the event.")
    job_id: str | None = Field(description="The job that has ended; null: it is the webhook of an event.")
    event: str | None = Field(description="The kind of the event; null: it is the webhook of a job.")
    webhook_id: str = Field(description="The header `webhook-id`, the same at each attempt.")
    endpoint_name: str
    owner: str | None = Field(description="The name of the API key that the job was submitted with.")
    callback_url: str = Field(description="Without its query, which may hold tokens.")
    status: DeliveryStatus
    created_at: datetime = Field(description="When the job ended, or the event was announced.")
    next_attempt_at: datetime | None
    attempts: list[WebhookAttempt] = Field(description="The last 20, oldest first.")


class WebhookDeliveries(Answer):
    """Deliveries of webhooks, newest first."""

    deliveries: list[WebhookDelivery]


class SubscriptionCreation(RequestSchema):
    """Which events a URL is to get."""

    url: str = Field(
        min_length=1, max_length=MAX_URL_LENGTH, pattern="^https?://[!-~]+$", description="URL that gets the webhooks."
    )
    events: list[EventKind] = Field(
        default=list(EventKind),
        min_length=1,
        max_length=len(EventKind),
        description="Kinds of events, such as `rollout.aborted`; all by default.",
    )
    endpoint_names: list[EndpointName] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_ENDPOINTS,
        description="Only events of these endpoints; null: of all, also later ones.",
    )


class WebhookSubscription(Answer):
    """A URL that gets a webhook for each event of some kinds."""

    subscription_id: str = Field(description="The id of the subscription.")
    url: str = Field(description="Without its query, which may hold tokens.")
    events: list[str] = Field(description="The kinds of events.")
    endpoint_names: list[str] | None = Field(description="The endpoints; null: all.")
    by: str | None = Field(description="The name of the API key that made it; null: a caller without a key.")
    created_at: datetime = Field(description="When it was made; it gets no earlier events.")


class WebhookSubscriptions(Answer):
    """Subscriptions of webhooks to events, oldest first."""

    subscriptions: list[WebhookSubscription] = Field(description="The subscriptions.")
