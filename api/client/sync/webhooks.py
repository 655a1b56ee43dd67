"""Webhooks: subscriptions of URLs to events."""

from __future__ import annotations

from collections.abc import Sequence

from api.client.documents import Subscription
from api.client.flows import subscriptions
from api.client.sync.base import BlockingCalls


class WebhookCalls(BlockingCalls):
    """Webhooks: subscriptions of URLs to events."""

    def subscribe(
        self, url: str, *, events: Sequence[str] | None = None, endpoint_names: Sequence[str] | None = None
    ) -> Subscription:
        """Let a URL get a signed webhook for each event of rollouts, shadows and evaluations that happens from now on.

        Args:
            url: where the webhooks are sent.
            events: kinds of events, such as `rollout.aborted`; all by default.
            endpoint_names: only events of these endpoints; of all by default, also of later ones.

        Raises:
            RequestInvalid: the URL or a kind of event is wrong, or the service sends no webhooks to such a URL.
        """
        return self._driver.run(subscriptions.subscribe(url, events, endpoint_names, self._ends_at()))

    def subscriptions(self) -> list[Subscription]:
        """Return the subscriptions to events, oldest first."""
        return self._driver.run(subscriptions.subscriptions(self._ends_at()))

    def unsubscribe(self, subscription_id: str) -> None:
        """End a subscription; webhooks that wait for their next attempt are still sent. Raises NotFound."""
        self._driver.run(subscriptions.unsubscribe(subscription_id, self._ends_at()))
