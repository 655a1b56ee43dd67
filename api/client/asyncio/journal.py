"""The journal of ended jobs, feedback on them, and what both show of quality and drift, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Literal

from api.client.asyncio.base import AwaitedCalls
from api.client.documents import (
    Drift,
    JournalKept,
    Quality,
)
from api.client.flows import (
    monitoring,
)
from api.client.flows.judging import journal
from api.client.flows.judging.journal import FORGET_TIMEOUT_S, Moment
from api.client.steps import Document


class JournalCalls(AwaitedCalls):
    """The journal of ended jobs, feedback on them, and what both show of quality and drift, awaited."""

    def journal(
        self, endpoint_name: str, *, since: Moment = "24h", until: Moment | None = None
    ) -> AsyncIterator[Document]:
        """As `Client.journal`."""
        flow = journal.entries(endpoint_name, since, until, self.timeout_s)
        return self._driver.stream(flow, ())

    def export_journal(
        self,
        endpoint_name: str,
        *,
        since: Moment = "24h",
        until: Moment | None = None,
        format: Literal["ndjson", "parquet"] = "ndjson",  # noqa: A002 - what the API calls it
    ) -> AsyncIterator[bytes]:
        """As `Client.export_journal`."""
        return self._driver.stream(journal.pages(endpoint_name, since, until, format, self.timeout_s), ())

    async def journal_kept(self, endpoint_name: str) -> JournalKept:
        """As `Client.journal_kept`."""
        return await self._driver.run(journal.kept(endpoint_name, self._ends_at()))

    async def forget_journal(
        self,
        endpoint_name: str | None = None,
        *,
        job_id: str | None = None,
        owner: str | None = None,
        before: Moment | None = None,
    ) -> int:
        """As `Client.forget_journal`."""
        which = {"job": job_id, "owner": owner, "before": before}
        return await self._driver.run(journal.forget(endpoint_name, which, self._ends_at(FORGET_TIMEOUT_S)))

    async def give_feedback(self, job_id: str, truth: Any, *, weight: float = 1.0) -> None:
        """As `Client.give_feedback`."""
        await self._driver.run(journal.give_feedback(job_id, truth, weight, self._ends_at()))

    async def give_much_feedback(self, feedback: Iterable[tuple[str, Any]]) -> list[str]:
        """As `Client.give_much_feedback`."""
        return await self._driver.run(journal.give_much_feedback(feedback, self.timeout_s))

    async def quality(self, endpoint_name: str, *, since: Moment = "30d", until: Moment | None = None) -> Quality:
        """As `Client.quality`."""
        return await self._driver.run(monitoring.quality(endpoint_name, since, until, self._ends_at()))

    async def drift(self, endpoint_name: str) -> Drift:
        """As `Client.drift`."""
        return await self._driver.run(monitoring.drift(endpoint_name, self._ends_at()))
