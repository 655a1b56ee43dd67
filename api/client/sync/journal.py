"""The journal of ended jobs, feedback on them, and what both show of quality and drift."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

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
from api.client.sync.base import BlockingCalls


class JournalCalls(BlockingCalls):
    """The journal of ended jobs, feedback on them, and what both show of quality and drift."""

    def journal(self, endpoint_name: str, *, since: Moment = "24h", until: Moment | None = None) -> Iterator[Document]:
        """Yield the jobs that the journal keeps, with inputs and outcomes, oldest first, as they are asked for.

        `since` and `until` are a time ago (`24h`, `30d`), a time in ISO 8601 or a datetime. Raises NotFound.
        """
        flow = journal.entries(endpoint_name, since, until, self.timeout_s)
        return self._driver.stream(flow, ())

    def export_journal(
        self,
        endpoint_name: str,
        *,
        since: Moment = "24h",
        until: Moment | None = None,
        format: Literal["ndjson", "parquet"] = "ndjson",  # noqa: A002 - what the API calls it
    ) -> Iterator[bytes]:
        """Yield the same jobs a page at a time: lines of JSON, or a whole Parquet file a page. Raises NotFound."""
        return self._driver.stream(journal.pages(endpoint_name, since, until, format, self.timeout_s), ())

    def journal_kept(self, endpoint_name: str) -> JournalKept:
        """Return how many jobs of an endpoint the journal keeps, their bytes, and of which time. Raises NotFound."""
        return self._driver.run(journal.kept(endpoint_name, self._ends_at()))

    def forget_journal(
        self,
        endpoint_name: str | None = None,
        *,
        job_id: str | None = None,
        owner: str | None = None,
        before: Moment | None = None,
    ) -> int:
        """Delete the jobs of an endpoint's journal, or of all, to which all that is given applies; return how many."""
        which = {"job": job_id, "owner": owner, "before": before}
        return self._driver.run(journal.forget(endpoint_name, which, self._ends_at(FORGET_TIMEOUT_S)))

    def give_feedback(self, job_id: str, truth: Any, *, weight: float = 1.0) -> None:
        """Say what is right for a job that the journal keeps; the latest feedback on a job counts. Raises NotFound."""
        self._driver.run(journal.give_feedback(job_id, truth, weight, self._ends_at()))

    def give_much_feedback(self, feedback: Iterable[tuple[str, Any]]) -> list[str]:
        """Say what is right for many jobs: pairs of a job's id and its truth; return the ids that are unknown."""
        return self._driver.run(journal.give_much_feedback(feedback, self.timeout_s))

    def quality(self, endpoint_name: str, *, since: Moment = "30d", until: Moment | None = None) -> Quality:
        """Return how good the answers of an endpoint are by feedback: accuracy, MAE and RMSE, by version and day.

        The jobs are those that ended `since` (a time ago, in ISO 8601, or a datetime). Raises NotFound.
        """
        return self._driver.run(monitoring.quality(endpoint_name, since, until, self._ends_at()))

    def drift(self, endpoint_name: str) -> Drift:
        """Return how inputs and answers have changed since the version's first jobs. Raises NotFound."""
        return self._driver.run(monitoring.drift(endpoint_name, self._ends_at()))
