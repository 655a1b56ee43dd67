"""The client for asyncio programs: the same calls as `sync` has, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Self, Unpack

from api.client.base import DEPLOY_TIMEOUT_S, REGISTER_TIMEOUT_S, BaseClient
from api.client.documents import Deployment, Model, ModelVersion, Stats
from api.client.flows import deployment, folders, map_options, mapping, prediction, registration
from api.client.flows.prediction import UNSET, Wanted
from api.client.jobs import AsyncJob
from api.client.options import Backlog, MapOptions, RegisterOptions, SubmitOptions
from api.client.steps import Document
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

    def map(
        self,
        endpoint_name: str,
        inputs: Iterable[Any] | AsyncIterable[Any],
        **options: Unpack[MapOptions],
    ) -> AsyncIterator[Any]:
        """As `Client.map`."""
        how = map_options.options_of(endpoint_name, options, ordered=True)
        return self._driver.stream(mapping.run(how, how.progress(inputs)), inputs)

    def map_unordered(
        self,
        endpoint_name: str,
        inputs: Iterable[Any] | AsyncIterable[Any],
        **options: Unpack[MapOptions],
    ) -> AsyncIterator[tuple[int, Any]]:
        """As `Client.map_unordered`."""
        how = map_options.options_of(endpoint_name, options, ordered=False)
        return self._driver.stream(mapping.run(how, how.progress(inputs)), inputs)

    async def job(self, job_id: str) -> AsyncJob:
        """As `Client.job`."""
        return self._job(await self._driver.run(prediction.show(job_id, self._ends_at())), of_array=False)

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
        endpoint_name: str | None = None,
        worker_group: str | None = None,
        wait: bool = True,
        timeout_s: float = DEPLOY_TIMEOUT_S,
        **settings: Any,
    ) -> Deployment:
        """As `Client.deploy`."""
        wanted = {"model_name": model_name, "version": version, "endpoint_name": endpoint_name}
        wanted |= {"worker_group": worker_group, **settings}
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
        with folders.archived(folder) as archive:
            return await self._driver.run(registration.import_mlflow(archive, described, timeout_s))

    async def models(self) -> list[Model]:
        """As `Client.models`."""
        return await self._driver.run(registration.list_models(self._ends_at()))

    async def model(self, name: str) -> Model:
        """As `Client.model`."""
        return await self._driver.run(registration.show_model(name, self._ends_at()))

    async def model_version(self, name: str, version: str) -> ModelVersion:
        """As `Client.model_version`."""
        return await self._driver.run(registration.show_version(name, version, self._ends_at()))

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
