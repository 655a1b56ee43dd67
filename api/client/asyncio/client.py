"""The client for asyncio programs: the same calls as `sync` has, awaited."""

from __future__ import annotations

from api.client.asyncio.deployments import DeploymentCalls
from api.client.asyncio.journal import JournalCalls
from api.client.asyncio.models import ModelCalls
from api.client.asyncio.predictions import PredictionCalls
from api.client.asyncio.trials import TrialCalls
from api.client.asyncio.webhooks import WebhookCalls
from api.client.typing import Self


class AsyncClient(PredictionCalls, DeploymentCalls, ModelCalls, JournalCalls, TrialCalls, WebhookCalls):
    """As `Client`, for programs with an event loop; an async context manager that closes its connections."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._driver.close()
