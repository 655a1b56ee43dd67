"""Subscriptions of webhooks to events of rollouts, shadows and evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.client import arrays
from api.client.documents import Subscription
from api.client.flows.calls import answered, call
from api.client.steps import Flow, Repeat, Request, path_of


def subscribe(
    url: str, events: Sequence[str] | None, endpoint_names: Sequence[str] | None, ends_at: float
) -> Flow[Subscription]:
    """Let a URL get webhooks of events; a subscription whose answer is lost may exist all the same."""
    wanted: Mapping[str, Sequence[str] | None] = {"events": events, "endpoint_names": endpoint_names}
    body: dict[str, Any] = {"url": url, **{name: list(value) for name, value in wanted.items() if value is not None}}
    headers = {"Content-Type": "application/json"}
    request = Request(
        "POST",
        path_of("webhooks", "subscriptions"),
        headers=headers,
        content=arrays.to_json(body),
        repeat=Repeat.UNDONE,
    )
    return Subscription.of((yield from call(request, ends_at)))


def subscriptions(ends_at: float) -> Flow[list[Subscription]]:
    """Return the subscriptions, oldest first."""
    found = yield from call(Request("GET", path_of("webhooks", "subscriptions")), ends_at)
    return [Subscription.of(each) for each in found["subscriptions"]]


def unsubscribe(subscription_id: str, ends_at: float) -> Flow[None]:
    """End a subscription. Raises NotFound."""
    request = Request("DELETE", path_of("webhooks", "subscriptions", subscription_id), repeat=Repeat.UNDONE)
    yield from answered(request, ends_at)
