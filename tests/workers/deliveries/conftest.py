"""A receiver, and settings that allow sending to it, in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.support.servers.webhook_receiver import WebhookReceiver, environment
from tests.support.service.environment import forget_cached_settings


@pytest.fixture
def receiver(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebhookReceiver]:
    for name, value in environment(retries_s="0.01 0.01 0.01").items():
        monkeypatch.setenv(name, value)
    forget_cached_settings()
    with WebhookReceiver() as running:
        yield running
    monkeypatch.undo()
    forget_cached_settings()
