"""The client for programs that wait: `with Client() as client: client.predict("iris", [5.1, 3.5, 1.4, 0.2])`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Self, Unpack

from api.client.base import DEPLOY_TIMEOUT_S, REGISTER_TIMEOUT_S, BaseClient
from api.client.documents import Deployment, Model, ModelVersion, Stats
from api.client.flows import deployment, folders, map_options, mapping, prediction, registration
from api.client.flows.prediction import UNSET, Wanted
from api.client.jobs import Job
from api.client.options import Backlog, MapOptions, RegisterOptions, SubmitOptions
from api.client.steps import Document
from api.client.transport.drivers import Driver


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

    def map(
        self,
        endpoint_name: str,
        inputs: Iterable[Any],
        **options: Unpack[MapOptions],
    ) -> Iterator[Any]:
        """Submit a job for each input, many in one request, and yield the predictions in the order of the inputs.

        The inputs may be anything to iterate over, also without an end. `MapOptions` describes the options.

        Raises:
            WaitTimedOut: no job has ended for `idle_timeout_s`.
        """
        how = map_options.options_of(endpoint_name, options, ordered=True)
        return self._driver.stream(mapping.run(how, how.progress(inputs)), inputs)

    def map_unordered(
        self,
        endpoint_name: str,
        inputs: Iterable[Any],
        **options: Unpack[MapOptions],
    ) -> Iterator[tuple[int, Any]]:
        """Do the same and yield `(number of the input, prediction)` as soon as a job has ended."""
        how = map_options.options_of(endpoint_name, options, ordered=False)
        return self._driver.stream(mapping.run(how, how.progress(inputs)), inputs)

    def job(self, job_id: str) -> Job:
        """Return a job by its id. Raises JobNotFound."""
        return self._job(self._driver.run(prediction.show(job_id, self._ends_at())), of_array=False)

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
        return self._driver.run(deployment.deploy(wanted, timeout_s, wait=wait))

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
        return self._driver.run(deployment.swap(endpoint_name, wanted, timeout_s, wait=wait))

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
        return self._driver.run(deployment.undeploy(wanted, timeout_s, wait=wait))

    def deployments(self) -> list[Deployment]:
        """Return the deployments, by name."""
        return self._driver.run(deployment.list_all(self._ends_at()))

    def deployment(self, endpoint_name: str) -> Deployment:
        """Return one deployment. Raises NotFound."""
        return self._driver.run(deployment.show(endpoint_name, self._ends_at()))

    def stats(self, endpoint_name: str, *, since: str = "1h") -> Stats:
        """Return a deployment's figures of the last time `since`, e.g. "30m" or "24h", in steps.

        Raises:
            NotFound: there is no such deployment.
            RequestInvalid: `since` is not from 1m to 24h.
        """
        return self._driver.run(deployment.stats(endpoint_name, since, self._ends_at()))

    def register(
        self,
        name: str,
        artifact: str | Path | bytes | IO[bytes],
        *,
        runtime: str | None = None,
        timeout_s: float = REGISTER_TIMEOUT_S,
        **options: Unpack[RegisterOptions],
    ) -> ModelVersion:
        """Register a file, or its bytes, as a version of a model; return the version.

        Loading a pickled model runs its code: register only what you trust. The suffix of `.onnx` and `.skops` files
        decides their `runtime`. `RegisterOptions` describes the other options.
        """
        described = registration.described(name, options, runtime=runtime)
        upload = registration.upload_of(artifact, described)
        return self._driver.run(registration.register(upload, described, timeout_s))

    def import_mlflow(
        self,
        name: str,
        folder: str | Path,
        *,
        flavor: str | None = None,
        timeout_s: float = REGISTER_TIMEOUT_S,
        **options: Unpack[RegisterOptions],
    ) -> ModelVersion:
        """Import a model folder as MLflow writes it (with the file MLmodel), or an archive of one; return the version.

        Its flavor decides the runtime: the first of sklearn, onnx and python_function that it has, unless named.
        `metadata["mlflow"]` of the version says where it came from, and in "warnings" what to know. Loading the model
        runs its code. An import whose answer is lost is not tried again.
        """
        described = registration.described(name, options, flavor=flavor)
        with folders.archived(folder) as archive:
            return self._driver.run(registration.import_mlflow(archive, described, timeout_s))

    def models(self) -> list[Model]:
        """Return the models, by name, without their versions."""
        return self._driver.run(registration.list_models(self._ends_at()))

    def model(self, name: str) -> Model:
        """Return a model and its versions. Raises NotFound."""
        return self._driver.run(registration.show_model(name, self._ends_at()))

    def model_version(self, name: str, version: str) -> ModelVersion:
        """Return one version of a model. Raises NotFound."""
        return self._driver.run(registration.show_version(name, version, self._ends_at()))

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

    def _job(self, document: Document, *, of_array: bool) -> Job:
        return Job(self._driver, document, self.timeout_s, of_array=of_array)
