"""Jobs as programs hold them: what is known of one, and what can be asked of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from api.client.documents import Outcome, QueuePlace, Step
from api.client.errors import JobUnfinished, unsuccessful
from api.client.flows import prediction
from api.client.flows.prediction import UNFINISHED
from api.client.typing import Self

if TYPE_CHECKING:
    from api.client.transport.drivers import AsyncDriver, Driver


class JobView:
    """A job as it stood when it was last asked for.

    Args:
        document: the job as the API shows it.
        timeout_s: how long its calls may take unless they say otherwise.
        of_array: whether its result is to be an array if it can.
    """

    def __init__(self, document: Mapping[str, Any], timeout_s: float, *, of_array: bool) -> None:
        #: All that the service has said of it.
        self.document = document
        self._timeout_s = timeout_s
        self._of_array = of_array

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.job_id} of {self.endpoint_name}: {self.status}>"

    @property
    def job_id(self) -> str:
        """Its id, which finds it again: `client.job(job_id)`."""
        return str(self.document["job_id"])

    @property
    def endpoint_name(self) -> str:
        """Where it was submitted."""
        return str(self.document["endpoint_name"])

    @property
    def status(self) -> str:
        """One of queued, running, succeeded, failed, cancelled, expired."""
        return str(self.document["status"])

    @property
    def ended(self) -> bool:
        """Whether nothing can change it any more."""
        return self.status not in UNFINISHED

    @property
    def queue(self) -> QueuePlace | None:
        """Where it was in its queue when it was last asked for; None if it was not queued then."""
        said = self.document.get("queue")
        return None if said is None else QueuePlace.of(said)

    @property
    def steps(self) -> list[Step]:
        """The steps of a pipeline, as they stood when it was last asked for by `wait` or `refresh`; empty without."""
        return [Step.of(each) for each in self.document.get("steps") or ()]

    @property
    def outcome(self) -> Outcome:
        """The prediction(s), and how they came about: version, worker, timing.

        Raises:
            JobUnfinished: it has not ended, as far as is known here.
            JobFailed, JobCancelled, JobExpired: it has ended without one.
        """
        if not self.ended:
            raise JobUnfinished(f"Job {self.job_id} is {self.status}: wait() for it.", problem=self.document)
        if self.status != "succeeded":
            raise unsuccessful(self.document)
        return Outcome.of(self.document["outcome"])

    @property
    def result(self) -> Any:
        """The prediction, for several inputs the list of them. Raises as `outcome`."""
        _ = self.outcome
        return prediction.result_of(self.document, of_array=self._of_array)

    def _ends_at(self, timeout_s: float | None = None) -> float:
        return time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)


class Job(JobView):
    """A job of a `Client`."""

    def __init__(self, driver: Driver, document: Mapping[str, Any], timeout_s: float, *, of_array: bool) -> None:
        super().__init__(document, timeout_s, of_array=of_array)
        self._driver = driver

    def wait(self, timeout_s: float | None = None) -> Self:
        """Wait until it has ended, however it does; return it.

        Raises:
            WaitTimedOut: it has not ended in `timeout_s`; it goes on.
        """
        if not self.ended:
            self.document = self._driver.run(prediction.ended(self.job_id, self._ends_at(timeout_s)))
        return self

    def refresh(self) -> Self:
        """Ask how it stands now; return it."""
        self.document = self._driver.run(prediction.show(self.job_id, self._ends_at()))
        return self

    def cancel(self, *, force: bool = False) -> Self:
        """Cancel it while it is queued; with `force` also while it runs, which may stop its model host.

        Raises:
            Conflict: it is running, or has ended.
        """
        self.document = self._driver.run(prediction.cancel(self.job_id, self._ends_at(), force=force))
        return self


class AsyncJob(JobView):
    """A job of an `AsyncClient`."""

    def __init__(self, driver: AsyncDriver, document: Mapping[str, Any], timeout_s: float, *, of_array: bool) -> None:
        super().__init__(document, timeout_s, of_array=of_array)
        self._driver = driver

    async def wait(self, timeout_s: float | None = None) -> Self:
        """As `Job.wait`."""
        if not self.ended:
            self.document = await self._driver.run(prediction.ended(self.job_id, self._ends_at(timeout_s)))
        return self

    async def refresh(self) -> Self:
        """As `Job.refresh`."""
        self.document = await self._driver.run(prediction.show(self.job_id, self._ends_at()))
        return self

    async def cancel(self, *, force: bool = False) -> Self:
        """As `Job.cancel`."""
        self.document = await self._driver.run(prediction.cancel(self.job_id, self._ends_at(), force=force))
        return self
