"""Subscriptions: URLs that get a webhook for each event of some kinds, of some endpoints or of all."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import delete as delete_from
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from registry import names
from registry.database.tables import WebhookSubscriptionRow
from registry.errors import SettingsInvalid, SubscriptionNotFound

#: Each event is stored once for each subscription that it matches.
MAX_SUBSCRIPTIONS = 100
MAX_ENDPOINTS = 100
MAX_URL_LENGTH = 2048


class EventKind(StrEnum):
    """What happens to candidates."""

    #: It was started: it waits for its evaluation, or workers load its candidate.
    ROLLOUT_BEGUN = "rollout.begun"
    #: The candidate answers the jobs of the next step.
    ROLLOUT_STEP = "rollout.step"
    ROLLOUT_PAUSED = "rollout.paused"
    ROLLOUT_RESUMED = "rollout.resumed"
    #: The endpoint serves the candidate alone.
    ROLLOUT_PROMOTED = "rollout.promoted"
    #: The candidate is gone.
    ROLLOUT_ABORTED = "rollout.aborted"
    #: It was stopped, or no worker could load its candidate.
    SHADOW_ENDED = "shadow.ended"
    #: It has a report, has failed, or was cancelled.
    EVALUATION_FINISHED = "evaluation.finished"


@dataclass(frozen=True)
class Subscription:
    """A URL and the events that it gets."""

    id: str
    url: str
    events: Sequence[EventKind]
    #: None is all endpoints.
    endpoint_names: Sequence[str] | None
    actor: str | None
    created_at: datetime

    def gets(self, kind: EventKind, endpoint_name: str, happened_at: datetime) -> bool:
        """Whether it gets an event; none that has happened before it was made."""
        is_of_endpoint = self.endpoint_names is None or endpoint_name in self.endpoint_names
        return kind in self.events and is_of_endpoint and happened_at >= self.created_at


def create(
    session: Session,
    url: str,
    events: Sequence[EventKind],
    *,
    endpoint_names: Sequence[str] | None = None,
    actor: str | None = None,
) -> Subscription:
    """Subscribe a URL, which the caller has checked, to events. An endpoint need not exist yet.

    Raises:
        NameInvalid: no endpoint can have this name.
        SettingsInvalid: there are no events or endpoints, too many endpoints, or too many subscriptions.
    """
    if not events or (endpoint_names is not None and not 1 <= len(endpoint_names) <= MAX_ENDPOINTS):
        raise SettingsInvalid(f"A subscription needs at least one event, and up to {MAX_ENDPOINTS} endpoints or all.")
    for name in endpoint_names or ():
        names.check_endpoint_name(name)
    if (session.scalar(select(func.count()).select_from(WebhookSubscriptionRow)) or 0) >= MAX_SUBSCRIPTIONS:
        raise SettingsInvalid(f"There are {MAX_SUBSCRIPTIONS} subscriptions already: delete one first.")
    row = WebhookSubscriptionRow(
        id=uuid.uuid4().hex,
        url=url,
        events=[each.value for each in dict.fromkeys(events)],
        endpoint_names=None if endpoint_names is None else sorted(set(endpoint_names)),
        actor=actor,
        created_at=datetime.now(UTC),
    )
    session.add(row)
    session.flush()
    return _view(row)


def list_all(session: Session) -> list[Subscription]:
    """Return all subscriptions, oldest first."""
    query = select(WebhookSubscriptionRow).order_by(WebhookSubscriptionRow.created_at, WebhookSubscriptionRow.id)
    return [_view(row) for row in session.scalars(query)]


def delete(session: Session, subscription_id: str) -> None:
    """Delete a subscription; webhooks that wait for it are still sent. Raises SubscriptionNotFound."""
    row = session.get(WebhookSubscriptionRow, subscription_id) if names.could_exist(subscription_id) else None
    if row is None:
        raise SubscriptionNotFound(subscription_id)
    session.execute(delete_from(WebhookSubscriptionRow).where(WebhookSubscriptionRow.id == subscription_id))


def _view(row: WebhookSubscriptionRow) -> Subscription:
    known = [EventKind(each) for each in row.events if each in set(EventKind)]  # a later release may have more
    return Subscription(row.id, row.url, known, row.endpoint_names, row.actor, row.created_at)
