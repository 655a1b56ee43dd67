"""What a worker tells about its connection."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kombu.connection import Connection

from tests.support.service.environment import forget_cached_settings
from workers.app import configuration
from workers.broker.celery_consumer import CeleryConsumer

URL = "sentinel://user:of-redis@one:1;sentinel://two:2/0?master_name=m&sentinel_password=of-sentinels"


def test_it_tells_no_password_of_sentinels_and_nothing_that_json_cannot_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUECAST_REDIS_URL", URL)
    forget_cached_settings()
    try:
        said: dict[str, Any] = configuration()
    finally:
        monkeypatch.undo()
        forget_cached_settings()
    options = said["broker_transport_options"]
    assert options["sentinel_kwargs"]["password"] == "of-sentinels"
    connection = Connection(said["broker_url"], transport_options=options)  # type: ignore[no-untyped-call, unused-ignore]
    monkeypatch.setattr("celery.worker.consumer.Consumer.connect", lambda _: connection)
    consumer = object.__new__(CeleryConsumer)
    consumer._held_tags = []
    told = consumer.connect().info()
    assert told["transport_options"]["master_name"] == "m"
    assert "of-sentinels" not in json.dumps(told)
