"""What all calls of the asyncio client share: its driver, and `call` for any route."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.client.base import BaseClient
from api.client.steps import Document
from api.client.transport.drivers import AsyncDriver


class AwaitedCalls(BaseClient):
    """The driver of the calls, which awaits while it carries one out."""

    def __init__(self, url: str | None = None, *, api_key: str | None = None, timeout_s: float = 60.0) -> None:
        super().__init__(url, api_key, timeout_s)
        self._driver = AsyncDriver(self._address)

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        repeat: bool = True,
    ) -> Document:
        """As `Client.call`."""
        return await self._driver.run(self._called(method, path, query, body, headers, repeat=repeat))
