"""Deployments: what is served under which name, with which settings, awaited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.client.asyncio.base import AwaitedCalls
from api.client.base import DEPLOY_TIMEOUT_S
from api.client.documents import (
    Deployment,
    DeploymentChange,
    Stats,
)
from api.client.flows import (
    deployment,
)
from api.client.options import Backlog
from api.client.steps import Document


class DeploymentCalls(AwaitedCalls):
    """Deployments: what is served under which name, with which settings, awaited."""

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
