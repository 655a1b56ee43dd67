"""Predictions and jobs, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Iterable
from typing import Any, overload

from api.client.asyncio.base import AwaitedCalls
from api.client.base import EMPTY_TIMEOUT_S
from api.client.flows import pipelines, prediction
from api.client.flows.maps import mapping
from api.client.flows.maps.options import options_of
from api.client.flows.prediction import UNSET, Wanted
from api.client.jobs import AsyncJob
from api.client.options import MapOptions, SubmitOptions
from api.client.steps import Document
from api.client.tables import frames
from api.client.tables.frames import DataFrame
from api.client.typing import Unpack


class PredictionCalls(AwaitedCalls):
    """Predictions and jobs, awaited."""

    async def predict(
        self,
        endpoint_name: str | None = None,
        input: Any = UNSET,  # noqa: A002 - what the API calls it
        *,
        inputs: Any = None,
        timeout_s: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Any:
        """As `Client.predict`."""
        wanted = Wanted(endpoint_name, input, inputs, options)
        job = await self._driver.run(prediction.predict(wanted.request(), self._timeout_s(timeout_s)))
        return prediction.result_of(job, of_array=wanted.of_array)

    async def submit(
        self,
        endpoint_name: str | None = None,
        input: Any = UNSET,  # noqa: A002 - what the API calls it
        *,
        inputs: Any = None,
        timeout_s: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> AsyncJob:
        """As `Client.submit`."""
        wanted = Wanted(endpoint_name, input, inputs, options)
        document = await self._driver.run(prediction.submit(wanted.request(), self._ends_at(timeout_s)))
        return self._job(document, of_array=wanted.of_array)

    async def pipeline(
        self,
        endpoint_names: Iterable[str],
        input: Any = UNSET,  # noqa: A002 - what the API calls it
        *,
        inputs: Any = None,
        timeout_s: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Any:
        """As `Client.pipeline`."""
        wanted = pipelines.wanted(endpoint_names, input, inputs, options)
        job = await self._driver.run(prediction.predict(wanted.request(), self._timeout_s(timeout_s)))
        return prediction.result_of(job, of_array=wanted.of_array)

    @overload
    def map(self, endpoint_name: str, inputs: DataFrame, **options: Unpack[MapOptions]) -> Coroutine[Any, Any, Any]: ...

    @overload
    def map(
        self, endpoint_name: str, inputs: Iterable[Any] | AsyncIterable[Any], **options: Unpack[MapOptions]
    ) -> AsyncIterator[Any]: ...

    def map(self, endpoint_name: str, inputs: Any, **options: Unpack[MapOptions]) -> Any:
        """As `Client.map`; for a data frame, await it."""
        if frames.is_frame(inputs):
            return self._map_frame(endpoint_name, inputs, frames.options_of(options))
        how = options_of(endpoint_name, options, ordered=True)
        return self._driver.stream(mapping.run(how, how.progress(inputs)), inputs)

    async def _map_frame(self, endpoint_name: str, frame: Any, options: MapOptions) -> Any:
        how = options_of(endpoint_name, options, ordered=True)
        signature = await self._driver.run(prediction.signature(endpoint_name, self._ends_at()))
        inputs, answer = frames.inputs_of(frame, signature), frames.Answer(frame, options)
        async for result in self._driver.stream(mapping.run(how, how.progress(frame)), inputs):
            answer.add(result)
        return answer.frame()

    def map_unordered(
        self,
        endpoint_name: str,
        inputs: Iterable[Any] | AsyncIterable[Any],
        **options: Unpack[MapOptions],
    ) -> AsyncIterator[tuple[int, Any]]:
        """As `Client.map_unordered`."""
        frames.refuse(inputs)
        how = options_of(endpoint_name, options, ordered=False)
        return self._driver.stream(mapping.run(how, how.progress(inputs)), inputs)

    async def job(self, job_id: str) -> AsyncJob:
        """As `Client.job`."""
        return self._job(await self._driver.run(prediction.show(job_id, self._ends_at())), of_array=False)

    async def retry(
        self,
        job_id: str,
        input: Any = UNSET,  # noqa: A002 - what the API calls it
        *,
        inputs: Any = None,
        endpoint_name: str | None = None,
    ) -> AsyncJob:
        """As `Client.retry`."""
        request = prediction.retry(job_id, input, inputs, endpoint_name)
        return self._job(await self._driver.run(prediction.submit(request, self._ends_at())), of_array=False)

    async def cancel_queued(
        self,
        endpoint_name: str,
        *,
        older_than_s: float = 0.0,
        delayed: bool = False,
        dry_run: bool = False,
        timeout_s: float = EMPTY_TIMEOUT_S,
    ) -> int:
        """As `Client.cancel_queued`."""
        ends_at = self._ends_at(timeout_s)
        flow = prediction.cancel_queued(endpoint_name, older_than_s, ends_at, delayed=delayed, dry_run=dry_run)
        return await self._driver.run(flow)

    async def jobs(
        self, *, endpoint_name: str | None = None, status: str | None = None, limit: int = 50
    ) -> list[AsyncJob]:
        """As `Client.jobs`."""
        found = await self.call(
            "GET", "/jobs", query={"endpoint_name": endpoint_name, "status": status, "limit": limit}
        )
        return [self._job(each, of_array=False) for each in found["jobs"]]

    def _job(self, document: Document, *, of_array: bool) -> AsyncJob:
        return AsyncJob(self._driver, document, self.timeout_s, of_array=of_array)
