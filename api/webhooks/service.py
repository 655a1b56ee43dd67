"""Subscriptions of webhooks to events: makes, lists and deletes them."""

from __future__ import annotations

from typing import Any

from api.auth import identity
from api.errors import CallbackRefused, WebhooksNotSetUp
from api.process.services import Services
from api.webhooks.schemas import SubscriptionCreation
from registry.judging import subscriptions
from registry.judging.subscriptions import Subscription
from workers.errors import TargetRefused
from workers.jobs.endings.outbox import without_secrets
from workers.webhooks import settings

View = dict[str, Any]


def subscribe(services: Services, wanted: SubscriptionCreation) -> View:
    """Subscribe a URL to events of rollouts, shadows and evaluations.

    Raises:
        WebhooksNotSetUp: this service has no secret to sign webhooks with.
        CallbackRefused: the URL is wrong or not allowed.
        NameInvalid: no endpoint can have this name.
        SettingsInvalid: there are too many subscriptions.
    """
    _check(wanted.url)
    with services.database.session() as session:
        made = subscriptions.create(
            session, wanted.url, wanted.events, endpoint_names=wanted.endpoint_names, actor=identity.current().name
        )
        session.commit()
    return _view(made)


def list_all(services: Services) -> list[View]:
    """Return the subscriptions, oldest first."""
    with services.database.session() as session:
        return [_view(each) for each in subscriptions.list_all(session)]


def unsubscribe(services: Services, subscription_id: str) -> None:
    """Delete a subscription. Raises SubscriptionNotFound."""
    with services.database.session() as session:
        subscriptions.delete(session, subscription_id)
        session.commit()


def _check(url: str) -> None:
    ours = settings.load()
    if not ours.keys:
        raise WebhooksNotSetUp("url")
    try:
        ours.allowlist.check_url(url)
    except TargetRefused as error:
        raise CallbackRefused(str(error), {"field": "url"}) from error


def _view(found: Subscription) -> View:
    return {
        "subscription_id": found.id,
        "url": without_secrets(found.url),
        "events": list(found.events),
        "endpoint_names": found.endpoint_names,
        "by": found.actor,
        "created_at": found.created_at.isoformat(),
    }
