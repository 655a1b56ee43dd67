"""The client for programs that wait: `with Client() as client: client.predict("iris", [5.1, 3.5, 1.4, 0.2])`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Self

from api.client import deploying, folders, map_options, mapping, predicting, registering
from api.client.base import (
    DEPLOY_TIMEOUT_S,
    IDLE_TIMEOUT_S,
    REGISTER_TIMEOUT_S,
    WINDOW,
    Backlog,
    BaseClient,
    OnError,
    Priority,
)
from api.client.documents import Deployment, Model, ModelVersion
from api.client.drivers import Driver
from api.client.jobs import Job
from api.client.predicting import UNSET, Wanted
from api.client.steps import Document


class Client(BaseClient):
    """The service at `url`; safe to use from many threads. A context manager that closes its connections.

    A call is tried again while the service can't be reached or is too busy, after the time that it asks for, until
    `timeout_s` is over. Submits carry an idempotency key, so that a repeated one is the same job.

    Args:
        url: where the service answers; default: QUEUECAST_URL, or http://127.0.0.1:8000.
        api_key: what is shown to a service that asks for a key; default: QUEUECAST_API_KEY.
        timeout_s: how long a call may take with all that is tried again, unless it says otherwise.

    Every method raises:
        RequestRefused: the service has answered with an error; its subclasses say which.
        ServiceUnreachable: it has not answered.
    """

    def __init__(self, url: str | None = None, *, api_key: str | None = None, timeout_s: float = 60.0) -> None:
        super().__init__(url, api_key, timeout_s)
        self._driver = Driver(self._address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._driver.close()

    def predict(
        self,
        endpoint_name: str | None = None,
        input: Any = UNSET,  # noqa: A002 - what the API calls it
        *,
        inputs: Any = None,
        model_name: str | None = None,
        version: str | None = None,
        priority: Priority | None = None,
        expires_in_s: float | None = None,
        idempotency_key: str | None = None,
        callback_url: str | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Submit one input, or with `inputs` several as one job, wait, and return the prediction(s).

        `model_name` instead of an endpoint asks its latest deployed version, or `version`. For a numpy array as
        input, lists in the prediction become arrays. `callback_url` is told the job's end by a signed webhook.

        Raises:
            JobFailed, JobCancelled, JobExpired: the job has ended without a prediction.
            WaitTimedOut: it has not ended in `timeout_s`; it goes on, under the error's `job_id`.
        """
        asked = model_name, version, priority, expires_in_s, idempotency_key, callback_url
        wanted = Wanted(endpoint_name, input, inputs, *asked)
        job = self._driver.run(predicting.predict(wanted.request(), self._timeout_s(timeout_s)))
        return predicting.result_of(job, of_array=wanted.of_array)

    def submit(
        self,
        endpoint_name: str | None = None,
        input: Any = UNSET,  # noqa: A002 - what the API calls it
        *,
        inputs: Any = None,
        model_name: str | None = None,
        version: str | None = None,
        priority: Priority | None = None,
        expires_in_s: float | None = None,
        idempotency_key: str | None = None,
        callback_url: str | None = None,
        timeout_s: float | None = None,
    ) -> Job:
        """Submit the same and return the job at once."""
        asked = model_name, version, priority, expires_in_s, idempotency_key, callback_url
        wanted = Wanted(endpoint_name, input, inputs, *asked)
        document = self._driver.run(predicting.submit(wanted.request(), self._ends_at(timeout_s)))
        return self._job(document, of_array=wanted.of_array)

    def map(
        self,
        endpoint_name: str,
        inputs: Iterable[Any],
        *,
        on_error: OnError = "raise",
        progress: bool | None = None,
        window: int = WINDOW,
        priority: Priority | None = None,
        expires_in_s: float | None = None,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
    ) -> Iterator[Any]:
        """Submit a job for each input, many in one request, and yield the predictions in the order of the inputs.

        Args:
            endpoint_name: where to submit.
            inputs: anything to iterate over, also without an end.
            on_error: raise the error of a job or an input, or return (yield) it in the place of its prediction.
            progress: show a bar on stderr; by default if that is a terminal.
            window: how many jobs may be on their way at once.
            priority: before (high) or after (low) what else waits for the endpoint.
            expires_in_s: a job never runs if it has not begun after this time.
            idle_timeout_s: how long nothing may move.

        Raises:
            WaitTimedOut: no job has ended for `idle_timeout_s`.
        """
        how = map_options.options(endpoint_name, on_error, window, priority, expires_in_s, idle_timeout_s, ordered=True)
        return self._driver.stream(mapping.run(how, map_options.progress_of(how, inputs, progress)), inputs)

    def map_unordered(
        self,
        endpoint_name: str,
        inputs: Iterable[Any],
        *,
        on_error: OnError = "raise",
        progress: bool | None = None,
        window: int = WINDOW,
        priority: Priority | None = None,
        expires_in_s: float | None = None,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
    ) -> Iterator[tuple[int, Any]]:
        """Do the same and yield `(number of the input, prediction)` as soon as a job has ended."""
        how = map_options.options(
            endpoint_name, on_error, window, priority, expires_in_s, idle_timeout_s, ordered=False
        )
        return self._driver.stream(mapping.run(how, map_options.progress_of(how, inputs, progress)), inputs)

    def job(self, job_id: str) -> Job:
        """Return a job by its id. Raises JobNotFound."""
        return self._job(self._driver.run(predicting.show(job_id, self._ends_at())), of_array=False)

    def jobs(self, *, endpoint_name: str | None = None, status: str | None = None, limit: int = 50) -> list[Job]:
        """Return recent jobs, newest first."""
        found = self.call("GET", "/jobs", query={"endpoint_name": endpoint_name, "status": status, "limit": limit})
        return [self._job(each, of_array=False) for each in found["jobs"]]

    def deploy(
        self,
        model_name: str,
        *,
        version: str | None = None,
        endpoint_name: str | None = None,
        worker_group: str | None = None,
        wait: bool = True,
        timeout_s: float = DEPLOY_TIMEOUT_S,
        **settings: Any,
    ) -> Deployment:
        """Deploy a version, by default the latest, and return once it is active, or with `wait=False` at once.

        The endpoint is `<model>-v<version>` unless named; one that is deployed swaps to the version. `settings` are
        those of a deployment: `max_batch_size=32`, `hosts=2`, …

        Raises:
            DeploymentFailed: the workers could not load it.
            WaitTimedOut: it is not active in `timeout_s`; that goes on.
        """
        wanted = {"model_name": model_name, "version": version, "endpoint_name": endpoint_name}
        wanted |= {"worker_group": worker_group, **settings}
        return self._driver.run(deploying.deploy(wanted, timeout_s, wait=wait))

    def swap(
        self,
        endpoint_name: str,
        *,
        version: str | None = None,
        model_name: str | None = None,
        wait: bool = True,
        timeout_s: float = DEPLOY_TIMEOUT_S,
        **settings: Any,
    ) -> Deployment:
        """Have an endpoint that is deployed serve another version, by default its model's latest; no job is refused.

        Raises:
            NotFound: there is no such endpoint.
            DeploymentFailed, WaitTimedOut: as for `deploy`; the old version goes on.
        """
        wanted = {"version": version, "model_name": model_name, **settings}
        return self._driver.run(deploying.swap(endpoint_name, wanted, timeout_s, wait=wait))

    def undeploy(
        self,
        endpoint_name: str | None = None,
        *,
        model_name: str | None = None,
        version: str | None = None,
        backlog: Backlog = "drain",
        wait: bool = True,
        timeout_s: float = DEPLOY_TIMEOUT_S,
    ) -> list[Deployment]:
        """Take down an endpoint, or a model's deployments; queued jobs are finished, fail, or wait (`backlog`).

        Raises:
            NotFound: nothing that is named so is deployed.
            WaitTimedOut: it is not down in `timeout_s`; that goes on.
        """
        wanted = {"endpoint_name": endpoint_name, "model_name": model_name, "version": version, "backlog": backlog}
        return self._driver.run(deploying.undeploy(wanted, timeout_s, wait=wait))

    def deployments(self) -> list[Deployment]:
        """Return the deployments, by name."""
        return self._driver.run(deploying.list_all(self._ends_at()))

    def deployment(self, endpoint_name: str) -> Deployment:
        """Return one deployment. Raises NotFound."""
        return self._driver.run(deploying.show(endpoint_name, self._ends_at()))

    def register(
        self,
        name: str,
        artifact: str | Path | bytes | IO[bytes],
        *,
        runtime: str | None = None,
        runtime_options: Mapping[str, Any] | None = None,
        input_example: Any = None,
        signature: Mapping[str, Any] | None = None,
        version: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        timeout_s: float = REGISTER_TIMEOUT_S,
    ) -> ModelVersion:
        """Register a file, or its bytes, as a version of a model, by default the next number; return the version.

        Loading a pickled model runs its code: register only what you trust. `runtime` is told by the suffix of
        `.onnx` and `.skops` files.
        """
        described = {"name": name, "runtime": runtime, "runtime_options": runtime_options, "version": version}
        described |= {"input_example": input_example, "signature": signature, "metadata": metadata}
        upload = registering.upload_of(artifact, described)
        return self._driver.run(registering.register(upload, described, timeout_s))

    def import_mlflow(
        self,
        name: str,
        folder: str | Path,
        *,
        flavor: str | None = None,
        runtime_options: Mapping[str, Any] | None = None,
        input_example: Any = None,
        signature: Mapping[str, Any] | None = None,
        version: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        timeout_s: float = REGISTER_TIMEOUT_S,
    ) -> ModelVersion:
        """Import a model folder as MLflow writes it (with the file MLmodel), or an archive of one; return the version.

        Its flavor decides the runtime: the first of sklearn, onnx and python_function that it has, unless named.
        `metadata["mlflow"]` of the version says where it came from, and in "warnings" what to know. Loading the model
        runs its code. An import whose answer is lost is not tried again.
        """
        described = {"name": name, "flavor": flavor, "runtime_options": runtime_options, "version": version}
        described |= {"input_example": input_example, "signature": signature, "metadata": metadata}
        with folders.archived(folder) as archive:
            return self._driver.run(registering.import_mlflow(archive, described, timeout_s))

    def models(self) -> list[Model]:
        """Return the models, by name, without their versions."""
        return self._driver.run(registering.list_models(self._ends_at()))

    def model(self, name: str) -> Model:
        """Return a model and its versions. Raises NotFound."""
        return self._driver.run(registering.show_model(name, self._ends_at()))

    def model_version(self, name: str, version: str) -> ModelVersion:
        """Return one version of a model. Raises NotFound."""
        return self._driver.run(registering.show_version(name, version, self._ends_at()))

    def call(
        self, method: str, path: str, *, query: Mapping[str, Any] | None = None, body: Any = None, repeat: bool = True
    ) -> Document:
        """Send a request of any kind and return the document; with `repeat=False` nothing is tried again."""
        return self._driver.run(self._called(method, path, query, body, repeat=repeat))

    def _job(self, document: Document, *, of_array: bool) -> Job:
        return Job(self._driver, document, self.timeout_s, of_array=of_array)
