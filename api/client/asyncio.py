"""The client for asyncio programs: the same calls as `sync` has, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
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
from api.client.jobs import AsyncJob
from api.client.options import Backlog, MapOptions, RegisterOptions, SubmitOptions
from api.client.steps import Document
from api.client.tables import frames
from api.client.tables.frames import DataFrame
from api.client.transport.drivers import AsyncDriver


class AsyncClient(BaseClient):
    """As `Client`, for programs with an event loop; an async context manager that closes its connections."""

    def __init__(self, url: str | None = None, *, api_key: str | None = None, timeout_s: float = 60.0) -> None:
        super().__init__(url, api_key, timeout_s)
        self._driver = AsyncDriver(self._address)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._driver.close()

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
        how = map_options.options_of(endpoint_name, options, ordered=True)
        return self._driver.stream(mapping.run(how, how.progress(inputs)), inputs)

    async def _map_frame(self, endpoint_name: str, frame: Any, options: MapOptions) -> Any:
        how = map_options.options_of(endpoint_name, options, ordered=True)
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
        how = map_options.options_of(endpoint_name, options, ordered=False)
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

    async def deploy(
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
        """As `Client.deploy`."""
        wanted: Document = {"model_name": model_name, "version": version, "endpoint_name": endpoint_name}
        wanted |= {"alias": alias, "follow": follow, "worker_group": worker_group, **settings}
        return await self._driver.run(deployment.deploy(wanted, timeout_s, wait=wait))

    async def swap(
        self,
        endpoint_name: str,
        *,
        version: str | None = None,
        model_name: str | None = None,
        wait: bool = True,
        timeout_s: float = DEPLOY_TIMEOUT_S,
        **settings: Any,
    ) -> Deployment:
        """As `Client.swap`."""
        wanted = {"version": version, "model_name": model_name, **settings}
        return await self._driver.run(deployment.swap(endpoint_name, wanted, timeout_s, wait=wait))

    async def configure(
        self,
        endpoint_name: str,
        settings: Mapping[str, Any] | None = None,
        *,
        worker_group: str | None = None,
        wait: bool = True,
        timeout_s: float = DEPLOY_TIMEOUT_S,
        **named: Any,
    ) -> Deployment:
        """As `Client.configure`."""
        wanted = {**(settings or {}), **named, **({} if worker_group is None else {"worker_group": worker_group})}
        return await self._driver.run(deployment.configure(endpoint_name, wanted, timeout_s, wait=wait))

    async def rollback(
        self,
        endpoint_name: str,
        *,
        to_revision: int | None = None,
        wait: bool = True,
        timeout_s: float = DEPLOY_TIMEOUT_S,
    ) -> Deployment:
        """As `Client.rollback`."""
        return await self._driver.run(deployment.rollback(endpoint_name, to_revision, timeout_s, wait=wait))

    async def history(self, endpoint_name: str, *, limit: int = 20) -> list[DeploymentChange]:
        """As `Client.history`."""
        return await self._driver.run(deployment.history(endpoint_name, limit, self._ends_at()))

    async def undeploy(
        self,
        endpoint_name: str | None = None,
        *,
        model_name: str | None = None,
        version: str | None = None,
        backlog: Backlog = "drain",
        wait: bool = True,
        timeout_s: float = DEPLOY_TIMEOUT_S,
    ) -> list[Deployment]:
        """As `Client.undeploy`."""
        wanted = {"endpoint_name": endpoint_name, "model_name": model_name, "version": version, "backlog": backlog}
        return await self._driver.run(deployment.undeploy(wanted, timeout_s, wait=wait))

    async def deployments(self) -> list[Deployment]:
        """As `Client.deployments`."""
        return await self._driver.run(deployment.list_all(self._ends_at()))

    async def deployment(self, endpoint_name: str) -> Deployment:
        """As `Client.deployment`."""
        return await self._driver.run(deployment.show(endpoint_name, self._ends_at()))

    async def stats(self, endpoint_name: str, *, since: str = "1h") -> Stats:
        """As `Client.stats`."""
        return await self._driver.run(deployment.stats(endpoint_name, since, self._ends_at()))

    async def register(
        self,
        name: str,
        artifact: str | Path | bytes | IO[bytes],
        *,
        runtime: str | None = None,
        timeout_s: float = REGISTER_TIMEOUT_S,
        **options: Unpack[RegisterOptions],
    ) -> ModelVersion:
        """As `Client.register`."""
        described = registration.described(name, options, runtime=runtime)
        upload = registration.upload_of(artifact, described)
        return await self._driver.run(registration.register(upload, described, timeout_s))

    async def import_mlflow(
        self,
        name: str,
        folder: str | Path,
        *,
        flavor: str | None = None,
        timeout_s: float = REGISTER_TIMEOUT_S,
        **options: Unpack[RegisterOptions],
    ) -> ModelVersion:
        """As `Client.import_mlflow`."""
        described = registration.described(name, options, flavor=flavor)
        with mlflow_registry.opened(folder) as source, folders.archived(source.folder) as archive:
            imported = await self._driver.run(registration.import_mlflow(archive, described, timeout_s))
            return await self._driver.run(mlflow_registry.take_along(source, imported, self._ends_at(timeout_s)))

    async def models(self, text: str | None = None, *, tags: Mapping[str, str] | None = None) -> list[Model]:
        """As `Client.models`."""
        return await self._driver.run(registration.list_models(text, tags or {}, self._ends_at()))

    async def model(self, name: str) -> Model:
        """As `Client.model`."""
        return await self._driver.run(registration.show_model(name, self._ends_at()))

    async def model_version(self, name: str, version: str) -> ModelVersion:
        """As `Client.model_version`."""
        return await self._driver.run(registration.show_version(name, version, self._ends_at()))

    async def aliases(self, model_name: str) -> list[Alias]:
        """As `Client.aliases`."""
        return await self._driver.run(catalog.aliases(model_name, self._ends_at()))

    async def move_alias(
        self, model_name: str, alias: str, version: str, *, expected: str | None = ANY_VERSION
    ) -> Alias:
        """As `Client.move_alias`."""
        return await self._driver.run(catalog.move_alias(model_name, alias, version, expected, self._ends_at()))

    async def delete_alias(self, model_name: str, alias: str) -> None:
        """As `Client.delete_alias`."""
        await self._driver.run(catalog.delete_alias(model_name, alias, self._ends_at()))

    async def tag(
        self, model_name: str, tags: Mapping[str, str | None], *, version: str | None = None
    ) -> Mapping[str, str]:
        """As `Client.tag`."""
        return await self._driver.run(catalog.tag(model_name, tags, version, self._ends_at()))

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

    async def evaluate(
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
        """As `Client.evaluate`."""
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
        return await self._driver.run(flow)

    async def evaluations(self, endpoint_name: str | None = None) -> list[Evaluation]:
        """As `Client.evaluations`."""
        return await self._driver.run(evaluations.evaluations(endpoint_name, self._ends_at()))

    async def evaluation(self, evaluation_id: str) -> Evaluation:
        """As `Client.evaluation`."""
        return await self._driver.run(evaluations.show(evaluation_id, self._ends_at()))

    async def remove_evaluation(self, evaluation_id: str) -> None:
        """As `Client.remove_evaluation`."""
        await self._driver.run(evaluations.remove(evaluation_id, self._ends_at()))

    async def start_rollout(
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
        """As `Client.start_rollout`."""
        wanted: dict[str, Any] = {"version": version, "steps": None if steps is None else list(steps), "rules": rules}
        wanted |= {"min_jobs": min_jobs, "step_s": step_s, "on_failure": on_failure}
        wanted |= {"start": "evaluation" if evaluate else None}
        wanted |= {"since": None if since is None else moment_text(since)}
        return await self._driver.run(trials.start_rollout(endpoint_name, wanted, self._ends_at()))

    async def rollout(self, endpoint_name: str) -> Rollout:
        """As `Client.rollout`."""
        return await self._driver.run(trials.rollout(endpoint_name, self._ends_at()))

    async def pause_rollout(self, endpoint_name: str, *, reason: str | None = None) -> Rollout:
        """As `Client.pause_rollout`."""
        return await self._driver.run(trials.steer(endpoint_name, "pause", reason, self._ends_at()))

    async def resume_rollout(self, endpoint_name: str) -> Rollout:
        """As `Client.resume_rollout`."""
        return await self._driver.run(trials.steer(endpoint_name, "resume", None, self._ends_at()))

    async def promote_rollout(self, endpoint_name: str, *, reason: str | None = None) -> Rollout:
        """As `Client.promote_rollout`."""
        return await self._driver.run(trials.steer(endpoint_name, "promote", reason, self._ends_at()))

    async def abort_rollout(self, endpoint_name: str, *, reason: str | None = None) -> Rollout:
        """As `Client.abort_rollout`."""
        return await self._driver.run(trials.steer(endpoint_name, "abort", reason, self._ends_at()))

    async def start_shadow(self, endpoint_name: str, version: str, *, share: float = 1.0) -> Shadow:
        """As `Client.start_shadow`."""
        return await self._driver.run(trials.start_shadow(endpoint_name, version, share, self._ends_at()))

    async def shadow(self, endpoint_name: str) -> Shadow:
        """As `Client.shadow`."""
        return await self._driver.run(trials.shadow(endpoint_name, self._ends_at()))

    async def stop_shadow(self, endpoint_name: str) -> Shadow:
        """As `Client.stop_shadow`."""
        return await self._driver.run(trials.stop_shadow(endpoint_name, self._ends_at()))

    async def delete_version(self, name: str, version: str) -> None:
        """As `Client.delete_version`."""
        await self._driver.run(registration.delete_version(name, version, self._ends_at()))

    async def prune_artifacts(self, *, dry_run: bool = False, grace_s: float = 3_600) -> Document:
        """As `Client.prune_artifacts`."""
        wanted = {"dry_run": dry_run, "grace_s": grace_s}
        return await self._driver.run(registration.prune_artifacts(wanted, self._ends_at()))

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

    def _job(self, document: Document, *, of_array: bool) -> AsyncJob:
        return AsyncJob(self._driver, document, self.timeout_s, of_array=of_array)
