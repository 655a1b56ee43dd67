"""What all calls of the blocking client share: its driver, and `call` for any route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.client.base import BaseClient
from api.client.steps import Document
from api.client.transport.drivers import Driver


class BlockingCalls(BaseClient):
    """The driver of the calls, which blocks while it carries one out."""

    def __init__(self, url: str | None = None, *, api_key: str | None = None, timeout_s: float = 60.0) -> None:
        super().__init__(url, api_key, timeout_s)
        self._driver = Driver(self._address)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        repeat: bool = True,
    ) -> Document:
        """Send a request of any kind and return the document; with `repeat=False` nothing is tried again.

        The body is sent as JSON, or as it is if it is bytes, whose `Content-Type` is then among the `headers`.
        """
        return self._driver.run(self._called(method, path, query, body, headers, repeat=repeat))
