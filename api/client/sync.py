"""The client for programs that wait: `with Client() as client: client.predict("iris", [5.1, 3.5, 1.4, 0.2])`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal, Self, Unpack, overload

from api.client.base import DEPLOY_TIMEOUT_S, EMPTY_TIMEOUT_S, REGISTER_TIMEOUT_S, BaseClient
from api.client.documents import (
    Alias,
    Deployment,
    DeploymentChange,
    Drift,
    Evaluation,
    JournalKept,
    Model,
    ModelVersion,
    Quality,
    Rollout,
    Shadow,
    Stats,
)
from api.client.flows import (
    catalog,
    deployment,
    folders,
    map_options,
    mapping,
    mlflow_registry,
    monitoring,
    prediction,
    registration,
)
from api.client.flows.catalog import ANY_VERSION
from api.client.flows.judging import evaluations, journal, trials
from api.client.flows.judging.evaluations import EVALUATE_TIMEOUT_S, Dataset
from api.client.flows.judging.journal import FORGET_TIMEOUT_S, Moment, moment_text
from api.client.flows.prediction import UNSET, Wanted
from api.client.jobs import Job
from api.client.options import Backlog, MapOptions, RegisterOptions, SubmitOptions
from api.client.steps import Document
from api.client.tables import frames
from api.client.tables.frames import DataFrame
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
        how = map_options.options_of(endpoint_name, options, ordered=True)
        return self._driver.stream(mapping.run(how, how.progress(inputs)), inputs)

    def _map_frame(self, endpoint_name: str, frame: Any, options: MapOptions) -> Any:
        how = map_options.options_of(endpoint_name, options, ordered=True)
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
        how = map_options.options_of(endpoint_name, options, ordered=False)
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

    def deploy(
        self,
        model_name: str,
        *,
        version: str | None = None,
        alias: str | None = None,
        follow: bool | None = None,
        endpoint_name: str | None = None,
        worker_group: str | None = None,
        wait: bool = True,
        timeout_s: float = DEPLOY_TIMEOUT_S,
        **settings: Any,
    ) -> Deployment:
        """Deploy a version, and return once it is active, or with `wait=False` at once.

        The endpoint is `<model>-v<version>` unless named. A new endpoint gets the latest version by default; one that
        exists keeps its version, its group and its settings as far as they are not named, and swaps if another version
        is. `settings` are those of a deployment: `max_batch_size=32`, `hosts=2`, …; `reset=True` sets all others to
        their defaults.

        Raises:
            DeploymentFailed: the workers could not load it.
            WaitTimedOut: it is not active in `timeout_s`; that goes on.
        """
        wanted: Document = {"model_name": model_name, "version": version, "endpoint_name": endpoint_name}
        wanted |= {"alias": alias, "follow": follow, "worker_group": worker_group, **settings}
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

    def configure(
        self,
        endpoint_name: str,
        settings: Mapping[str, Any] | None = None,
        *,
        worker_group: str | None = None,
        wait: bool = True,
        timeout_s: float = DEPLOY_TIMEOUT_S,
        **named: Any,
    ) -> Deployment:
        """Change settings of an endpoint and nothing else; None is a setting's default. `changes` says what differs.

        Settings are a mapping or named: `hosts=2`. The setting `timeout_s` goes into the mapping, since as a name it is
        the time of the wait.

        Raises:
            NotFound: there is no such endpoint.
            DeploymentFailed: the workers can't serve it so; it goes on with the settings of before.
            WaitTimedOut: it is not active in `timeout_s`; that goes on.
        """
        wanted = {**(settings or {}), **named, **({} if worker_group is None else {"worker_group": worker_group})}
        return self._driver.run(deployment.configure(endpoint_name, wanted, timeout_s, wait=wait))

    def rollback(
        self,
        endpoint_name: str,
        *,
        to_revision: int | None = None,
        wait: bool = True,
        timeout_s: float = DEPLOY_TIMEOUT_S,
    ) -> Deployment:
        """Have an endpoint serve what it was at an earlier revision, by default before the last change.

        Raises:
            NotFound: there is no such endpoint or revision.
            Conflict: that revision can't be served any more.
            DeploymentFailed, WaitTimedOut: as for `configure`.
        """
        return self._driver.run(deployment.rollback(endpoint_name, to_revision, timeout_s, wait=wait))

    def history(self, endpoint_name: str, *, limit: int = 20) -> list[DeploymentChange]:
        """Return the latest changes of an endpoint, newest first. Raises NotFound."""
        return self._driver.run(deployment.history(endpoint_name, limit, self._ends_at()))

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
        """Take down an endpoint, or a model's deployments; queued jobs are finished, cancelled, or wait (`backlog`).

        Raises:
            NotFound: nothing that is named so is deployed.
            DeploymentFailed: queued jobs can't be finished, because no worker can load it; see `backlog`.
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

        Loading a pickled model runs its code: register only what you trust. Without a `runtime`, the service finds it
        from the file, without running its code. `RegisterOptions` describes the other options.
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

        `models:/churn@champion` and `models:/churn/3` name a version in MLflow's registry (`MLFLOW_TRACKING_URI`),
        which needs mlflow-skinny here. Its aliases and tags are taken along.
        """
        described = registration.described(name, options, flavor=flavor)
        with mlflow_registry.opened(folder) as source, folders.archived(source.folder) as archive:
            imported = self._driver.run(registration.import_mlflow(archive, described, timeout_s))
            return self._driver.run(mlflow_registry.take_along(source, imported, self._ends_at(timeout_s)))

    def models(self, text: str | None = None, *, tags: Mapping[str, str] | None = None) -> list[Model]:
        """Return the models, by name, without their versions: those with this text in their names, and these tags."""
        return self._driver.run(registration.list_models(text, tags or {}, self._ends_at()))

    def model(self, name: str) -> Model:
        """Return a model and its versions. Raises NotFound."""
        return self._driver.run(registration.show_model(name, self._ends_at()))

    def model_version(self, name: str, version: str) -> ModelVersion:
        """Return one version of a model. Raises NotFound."""
        return self._driver.run(registration.show_version(name, version, self._ends_at()))

    def aliases(self, model_name: str) -> list[Alias]:
        """Return the aliases of a model, by name. Raises NotFound."""
        return self._driver.run(catalog.aliases(model_name, self._ends_at()))

    def move_alias(self, model_name: str, alias: str, version: str, *, expected: str | None = ANY_VERSION) -> Alias:
        """Let an alias name a version; endpoints that follow it swap to it (`swapped`) or roll it out (`rolling_out`).

        With `expected`, only if it names this version now; None is an alias that doesn't exist yet.

        Raises:
            NotFound: there is no such version.
            Conflict: it names another version than the expected one.
        """
        return self._driver.run(catalog.move_alias(model_name, alias, version, expected, self._ends_at()))

    def delete_alias(self, model_name: str, alias: str) -> None:
        """Delete an alias. Raises NotFound; Conflict if an endpoint follows it."""
        self._driver.run(catalog.delete_alias(model_name, alias, self._ends_at()))

    def tag(self, model_name: str, tags: Mapping[str, str | None], *, version: str | None = None) -> Mapping[str, str]:
        """Set tags of a model, or of one version; None removes one. Return all that it has. Raises NotFound."""
        return self._driver.run(catalog.tag(model_name, tags, version, self._ends_at()))

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

    def evaluate(
        self,
        endpoint_name: str,
        version: str,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        dataset: Dataset | None = None,
        max_jobs: int | None = None,
        control: float | None = None,
        tolerance: float | None = None,
        probability_tolerance: float | None = None,
        margin: float | None = None,
        wait: bool = True,
        timeout_s: float = EVALUATE_TIMEOUT_S,
        on_progress: Callable[[Evaluation], object] | None = None,
    ) -> Evaluation:
        """Replay jobs of an endpoint on another version of its model, and return the evaluation with its report.

        The jobs are those that the journal keeps `since` (a time ago, in ISO 8601, or a datetime; 24h by default), or
        those of a `dataset`: `[{"input": …, "truth": …}, …]`. Numbers agree within `tolerance` (0.001) of the larger,
        probabilities within `probability_tolerance` (0.05) if the same class wins. With `wait=False` return at once.
        `on_progress` is called with the evaluation now and then.

        Raises:
            NotFound: there is no such endpoint or version.
            Conflict: the endpoint serves this version, or the journal has no jobs.
            WaitTimedOut: it has not ended in `timeout_s`, and goes on.
        """
        wanted = {
            "endpoint_name": endpoint_name,
            "version": version,
            "since": None if since is None else moment_text(since),
            "until": None if until is None else moment_text(until),
            "dataset": dataset,
            "max_jobs": max_jobs,
            "control": control,
            "tolerance": tolerance,
            "probability_tolerance": probability_tolerance,
            "margin": margin,
        }
        flow = evaluations.evaluate(wanted, timeout_s, wait=wait, on_progress=on_progress)
        return self._driver.run(flow)

    def evaluations(self, endpoint_name: str | None = None) -> list[Evaluation]:
        """Return the newest evaluations, newest first, without their reports."""
        return self._driver.run(evaluations.evaluations(endpoint_name, self._ends_at()))

    def evaluation(self, evaluation_id: str) -> Evaluation:
        """Return an evaluation, with its report once it has succeeded. Raises NotFound."""
        return self._driver.run(evaluations.show(evaluation_id, self._ends_at()))

    def remove_evaluation(self, evaluation_id: str) -> None:
        """Cancel an evaluation that has not ended, or delete one that has.

        Raises NotFound; Conflict while its hosts and queues are being removed.
        """
        self._driver.run(evaluations.remove(evaluation_id, self._ends_at()))

    def start_rollout(
        self,
        endpoint_name: str,
        version: str,
        *,
        steps: Sequence[float] | None = None,
        min_jobs: int | None = None,
        step_s: float | None = None,
        rules: Mapping[str, float | None] | None = None,
        on_failure: str | None = None,
        evaluate: bool = False,
        since: Moment | None = None,
    ) -> Rollout:
        """Let another version answer a growing share of an endpoint's jobs, until it is promoted or aborted.

        Args:
            endpoint_name: the endpoint.
            version: the candidate, of the same model.
            steps: the candidate's share of jobs in each step (percent); default: 1, 10, 50, 100.
            min_jobs: jobs that must have met it in a step before the next one; default: 200.
            step_s: how long a step lasts; default: 600.
            rules: `errors`, `latency_p95`, `disagreement`; None switches one off.
            on_failure: `stable` (default): what fails on the candidate runs again on the stable version; `fail`.
            evaluate: replay jobs of the journal on it first; the rollout waits for the verdict.
            since: with `evaluate`, the jobs that ended since; default: 24h.

        Raises:
            NotFound: there is no such endpoint or version.
            Conflict: the endpoint isn't served, serves this version, or has a shadow or a rollout.
        """
        wanted: dict[str, Any] = {"version": version, "steps": None if steps is None else list(steps), "rules": rules}
        wanted |= {"min_jobs": min_jobs, "step_s": step_s, "on_failure": on_failure}
        wanted |= {"start": "evaluation" if evaluate else None}
        wanted |= {"since": None if since is None else moment_text(since)}
        return self._driver.run(trials.start_rollout(endpoint_name, wanted, self._ends_at()))

    def rollout(self, endpoint_name: str) -> Rollout:
        """Return the active or else the latest rollout of an endpoint. Raises NotFound."""
        return self._driver.run(trials.rollout(endpoint_name, self._ends_at()))

    def pause_rollout(self, endpoint_name: str, *, reason: str | None = None) -> Rollout:
        """Pause a rollout: the candidate keeps its share of jobs. Raises NotFound, Conflict."""
        return self._driver.run(trials.steer(endpoint_name, "pause", reason, self._ends_at()))

    def resume_rollout(self, endpoint_name: str) -> Rollout:
        """Resume a paused rollout. Raises NotFound, Conflict."""
        return self._driver.run(trials.steer(endpoint_name, "resume", None, self._ends_at()))

    def promote_rollout(self, endpoint_name: str, *, reason: str | None = None) -> Rollout:
        """Let the endpoint serve the candidate alone. Raises NotFound, Conflict."""
        return self._driver.run(trials.steer(endpoint_name, "promote", reason, self._ends_at()))

    def abort_rollout(self, endpoint_name: str, *, reason: str | None = None) -> Rollout:
        """Let the stable version answer all jobs again. Raises NotFound, Conflict."""
        return self._driver.run(trials.steer(endpoint_name, "abort", reason, self._ends_at()))

    def start_shadow(self, endpoint_name: str, version: str, *, share: float = 1.0) -> Shadow:
        """Let another version predict a share of jobs after their ends. Raises NotFound, Conflict."""
        return self._driver.run(trials.start_shadow(endpoint_name, version, share, self._ends_at()))

    def shadow(self, endpoint_name: str) -> Shadow:
        """Return the running or else the latest shadow of an endpoint, with its report. Raises NotFound."""
        return self._driver.run(trials.shadow(endpoint_name, self._ends_at()))

    def stop_shadow(self, endpoint_name: str) -> Shadow:
        """Stop the shadow of an endpoint; its report stays. Raises NotFound."""
        return self._driver.run(trials.stop_shadow(endpoint_name, self._ends_at()))

    def delete_version(self, name: str, version: str) -> None:
        """Delete a version that no endpoint serves; its artifact goes with the next `prune_artifacts`.

        Raises:
            NotFound: there is no such version.
            RequestRefused: endpoints serve it; the message names them.
        """
        self._driver.run(registration.delete_version(name, version, self._ends_at()))

    def prune_artifacts(self, *, dry_run: bool = False, grace_s: float = 3_600) -> Document:
        """Delete artifacts that nothing needs, older than `grace_s`; return what was deleted (or would be), and stays.

        `is_complete` in it is False if there is more to look at: call it again.
        """
        wanted = {"dry_run": dry_run, "grace_s": grace_s}
        return self._driver.run(registration.prune_artifacts(wanted, self._ends_at()))

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
