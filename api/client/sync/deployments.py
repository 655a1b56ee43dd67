"""Deployments: what is served under which name, with which settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
from api.client.sync.base import BlockingCalls


class DeploymentCalls(BlockingCalls):
    """Deployments: what is served under which name, with which settings."""

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
