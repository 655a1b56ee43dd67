"""The hosts of an evaluation, as workers report them: whether they are ready, why not, and what they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from registry import names
from registry.judging.evaluations import CANDIDATE, STABLE, Evaluation
from workers.deployments import status
from workers.measures.reports import HostsState, SeenReport, VersionReport


@dataclass(frozen=True, slots=True)
class ReplayHosts:
    """The hosts of both versions on all workers of the group."""

    #: How many workers of the group live.
    worker_count: int
    #: By version: `candidate` or `stable`.
    reports: dict[str, list[VersionReport]] = field(default_factory=dict)
    #: Whether any worker has these endpoints.
    is_known: bool = False

    def ready(self, arm: str) -> bool:
        """Whether a host of this version is loaded and warm."""
        return any(each["state"] == HostsState.READY for each in self.reports[arm])

    @property
    def is_building(self) -> bool:
        """Whether a worker builds the environment of a version, which may take longer than loading it."""
        return any(each["state"] == HostsState.BUILDING for reports in self.reports.values() for each in reports)

    def load_error(self, arm: str) -> str | None:
        """Return the error with which all workers of the group failed to load this version; None if they didn't."""
        failed = [each["error"] for each in self.reports[arm] if each["state"] == HostsState.FAILED]
        errors = [error for error in failed if error]
        return errors[0] if errors and len(errors) >= self.worker_count else None

    def facts(self, before: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Return memory of a host and load time of both versions, the most of what was seen until now."""
        found = {}
        for arm, reports in self.reports.items():
            earlier = before.get(arm, {})
            memory_mb = [each["memory_bytes"] / each["hosts"] / 1e6 for each in reports if each["hosts"]]
            load_s = [each["load_ms"] / 1e3 for each in reports if each["load_ms"] is not None]
            found[arm] = {
                "memory_mb": round(max([*memory_mb, earlier.get("memory_mb") or 0.0]), 1) or None,
                "load_s": round(max([*load_s, earlier.get("load_s") or 0.0]), 3) or None,
            }
        return found


def seen(evaluation: Evaluation) -> ReplayHosts:
    """Return what live workers report of an evaluation's hosts. Raises QueueUnavailable."""
    workers = status.live_workers()
    of_group = [each for each in workers if each["worker_group"] == evaluation.worker_group]
    endpoint_of = {arm: names.replay_endpoint_name(evaluation.evaluation_id, arm) for arm in (CANDIDATE, STABLE)}
    return ReplayHosts(
        len(of_group),
        {arm: _reports(of_group, name) for arm, name in endpoint_of.items()},
        is_known=any(name in worker["endpoints"] for name in endpoint_of.values() for worker in workers),
    )


def _reports(workers: Sequence[SeenReport], endpoint_name: str) -> list[VersionReport]:
    endpoints = [endpoint for worker in workers if (endpoint := worker["endpoints"].get(endpoint_name))]
    return [version for endpoint in endpoints for version in endpoint["versions"]]
