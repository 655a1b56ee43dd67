"""Webhooks: subscriptions of URLs to events, awaited."""

from __future__ import annotations

from collections.abc import Sequence

from api.client.asyncio.base import AwaitedCalls
from api.client.documents import Subscription
from api.client.flows import subscriptions


class WebhookCalls(AwaitedCalls):
    """Webhooks: subscriptions of URLs to events, awaited."""

    async def subscribe(
        self, url: str, *, events: Sequence[str] | None = None, endpoint_names: Sequence[str] | None = None
    ) -> Subscription:
        """As `Client.subscribe`."""
        return await self._driver.run(subscriptions.subscribe(url, events, endpoint_names, self._ends_at()))

    async def subscriptions(self) -> list[Subscription]:
        """As `Client.subscriptions`."""
        return await self._driver.run(subscriptions.subscriptions(self._ends_at()))

    async def unsubscribe(self, subscription_id: str) -> None:
        """As `Client.unsubscribe`."""
        await self._driver.run(subscriptions.unsubscribe(subscription_id, self._ends_at()))
