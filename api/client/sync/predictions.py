"""Predictions and jobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, overload

from api.client.base import EMPTY_TIMEOUT_S
from api.client.flows import pipelines, prediction
from api.client.flows.maps import mapping
from api.client.flows.maps.options import options_of
from api.client.flows.prediction import UNSET, Wanted
from api.client.jobs import Job
from api.client.options import MapOptions, SubmitOptions
from api.client.steps import Document
from api.client.sync.base import BlockingCalls
from api.client.tables import frames
from api.client.tables.frames import DataFrame
from api.client.typing import Unpack


class PredictionCalls(BlockingCalls):
    """Predictions and jobs."""

    def predict(
        self,
        endpoint_name: str | None = None,
        input: Any = UNSET,  # noqa: A002 - what the API calls it
        *,
        inputs: Any = None,
        timeout_s: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Any:
        """Submit one input, or with `inputs` several as one job, wait, and return the prediction(s).

        `SubmitOptions` describes the other options, among them `model_name` in place of an endpoint. For a numpy array
        as input, lists in the prediction become arrays.

        Raises:
            JobFailed, JobCancelled, JobExpired: the job has ended without a prediction.
            WaitTimedOut: it has not ended in `timeout_s`; it goes on, under the error's `job_id`.
        """
        wanted = Wanted(endpoint_name, input, inputs, options)
        job = self._driver.run(prediction.predict(wanted.request(), self._timeout_s(timeout_s)))
        return prediction.result_of(job, of_array=wanted.of_array)

    def submit(
        self,
        endpoint_name: str | None = None,
        input: Any = UNSET,  # noqa: A002 - what the API calls it
        *,
        inputs: Any = None,
        timeout_s: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Job:
        """Submit the same and return the job at once."""
        wanted = Wanted(endpoint_name, input, inputs, options)
        document = self._driver.run(prediction.submit(wanted.request(), self._ends_at(timeout_s)))
        return self._job(document, of_array=wanted.of_array)

    def pipeline(
        self,
        endpoint_names: Iterable[str],
        input: Any = UNSET,  # noqa: A002 - what the API calls it
        *,
        inputs: Any = None,
        timeout_s: float | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Any:
        """Predict with several endpoints, each from the prediction of the one before it; return the last prediction.

        The job is the whole pipeline: `submit(first, input, then=[second, …])` returns it at once. Options and errors
        are those of `predict`.
        """
        wanted = pipelines.wanted(endpoint_names, input, inputs, options)
        job = self._driver.run(prediction.predict(wanted.request(), self._timeout_s(timeout_s)))
        return prediction.result_of(job, of_array=wanted.of_array)

    @overload
    def map(self, endpoint_name: str, inputs: DataFrame, **options: Unpack[MapOptions]) -> Any: ...

    @overload
    def map(self, endpoint_name: str, inputs: Iterable[Any], **options: Unpack[MapOptions]) -> Iterator[Any]: ...

    def map(self, endpoint_name: str, inputs: Any, **options: Unpack[MapOptions]) -> Any:
        """Submit a job for each input, many in one request, and yield the predictions in the order of the inputs.

        The inputs may be anything to iterate over, also without an end. `MapOptions` describes the options.

        A data frame of pandas gives a data frame of the predictions with the same index. Its columns make the inputs,
        by the names of the fields, or by position if the input has none; with `on_error="return"` the answer has a
        column `error`.

        Raises:
            WaitTimedOut: no job has ended for `idle_timeout_s`.
            ColumnsWrong: the data frame lacks a column.
        """
        if frames.is_frame(inputs):
            return self._map_frame(endpoint_name, inputs, frames.options_of(options))
        how = options_of(endpoint_name, options, ordered=True)
        return self._driver.stream(mapping.run(how, how.progress(inputs)), inputs)

    def _map_frame(self, endpoint_name: str, frame: Any, options: MapOptions) -> Any:
        how = options_of(endpoint_name, options, ordered=True)
        signature = self._driver.run(prediction.signature(endpoint_name, self._ends_at()))
        inputs, answer = frames.inputs_of(frame, signature), frames.Answer(frame, options)
        for result in self._driver.stream(mapping.run(how, how.progress(frame)), inputs):
            answer.add(result)
        return answer.frame()

    def map_unordered(
        self,
        endpoint_name: str,
        inputs: Iterable[Any],
        **options: Unpack[MapOptions],
    ) -> Iterator[tuple[int, Any]]:
        """Do the same and yield `(number of the input, prediction)` as soon as a job has ended."""
        frames.refuse(inputs)
        how = options_of(endpoint_name, options, ordered=False)
        return self._driver.stream(mapping.run(how, how.progress(inputs)), inputs)

    def job(self, job_id: str) -> Job:
        """Return a job by its id. Raises JobNotFound."""
        return self._job(self._driver.run(prediction.show(job_id, self._ends_at())), of_array=False)

    def retry(
        self,
        job_id: str,
        input: Any = UNSET,  # noqa: A002 - what the API calls it
        *,
        inputs: Any = None,
        endpoint_name: str | None = None,
    ) -> Job:
        """Run a failed job again: a new job with the same input, or with an edited one; return that job.

        Raises:
            Conflict: the job has not failed (`job_not_failed`), or its input is not kept (`input_not_kept`).
            JobNotFound: there is no such job.
        """
        request = prediction.retry(job_id, input, inputs, endpoint_name)
        return self._job(self._driver.run(prediction.submit(request, self._ends_at())), of_array=False)

    def cancel_queued(
        self,
        endpoint_name: str,
        *,
        older_than_s: float = 0.0,
        delayed: bool = False,
        dry_run: bool = False,
        timeout_s: float = EMPTY_TIMEOUT_S,
    ) -> int:
        """Cancel the jobs that wait in an endpoint's queue while it serves; return how many. Running jobs go on.

        Those that were submitted at least `older_than_s` ago; with `delayed` also delayed ones, with `dry_run` they are
        only counted. With a client's key only its own jobs. Repeated, it continues.
        """
        ends_at = self._ends_at(timeout_s)
        flow = prediction.cancel_queued(endpoint_name, older_than_s, ends_at, delayed=delayed, dry_run=dry_run)
        return self._driver.run(flow)

    def jobs(self, *, endpoint_name: str | None = None, status: str | None = None, limit: int = 50) -> list[Job]:
        """Return recent jobs, newest first."""
        found = self.call("GET", "/jobs", query={"endpoint_name": endpoint_name, "status": status, "limit": limit})
        return [self._job(each, of_array=False) for each in found["jobs"]]

    def _job(self, document: Document, *, of_array: bool) -> Job:
        return Job(self._driver, document, self.timeout_s, of_array=of_array)
