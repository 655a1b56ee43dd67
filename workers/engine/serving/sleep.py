"""An endpoint without hosts: what is known of its version, which has been loaded before, and how long a load takes.

The endpoint goes on taking jobs. The first one loads the version again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from registry.deployments import DesiredDeployment, Intent
from workers.engine.serving.hosts.compatibility import can_serve, can_take_over
from workers.measures.reports import HostsState, PaceReport, VersionReport


@dataclass(frozen=True, slots=True)
class Sleep:
    """What an asleep endpoint knows of its version."""

    #: The deployment whose version has been loaded, with the settings of now.
    desired: DesiredDeployment
    #: How long the version takes from a job's arrival until a host has it (ms); None if it is unknown.
    load_ms: float | None = None
    #: The last report of its hosts; None after a start of the worker.
    last: VersionReport | None = None
    #: Their pace, without a host.
    pace: PaceReport | None = None
    #: When a job began to wake it (s since the epoch); None while it sleeps.
    woken_at: float | None = None
    #: The same on the clock that measures times (s, monotonic).
    began_at: float = field(default_factory=time.monotonic)

    def proves(self, desired: DesiredDeployment) -> bool:
        """Whether it is known that a deployment loads; each deploy loads it once, and so does a lower limit."""
        if desired.intent is Intent.DRAIN:
            return can_serve(self.desired, desired)
        return desired.deployed_at == self.desired.deployed_at and can_take_over(self.desired, desired)

    def with_settings(self, desired: DesiredDeployment) -> Sleep:
        """Return it with the settings of now."""
        return replace(self, desired=desired)

    def woken(self) -> Sleep:
        """Return it as of a job that wakes it now."""
        return replace(self, woken_at=time.time(), began_at=time.monotonic())

    def report(self) -> VersionReport:
        """Return the report on the version that has no hosts."""
        asleep: VersionReport = {**without_hosts(self.desired, HostsState.ASLEEP), "load_ms": self.load_ms}
        if self.last is not None:
            names = "outputs", "batch_size", "batch_rows", "batch_p95_ms", "predict_p95_ms"
            asleep |= {name: self.last[name] for name in names}  # type: ignore[typeddict-item, literal-required]
        return asleep

    def waking(self, report: VersionReport) -> VersionReport:
        """Return the report of the hosts that are being loaded for waiting jobs."""
        if self.woken_at is None:
            return report
        found: VersionReport = {**report, "woken_at": round(self.woken_at, 3), "load_ms": self.load_ms}
        return found


def without_hosts(desired: DesiredDeployment, state: HostsState) -> VersionReport:
    """Return the report on a version that has no hosts, and of which nothing is known."""
    return {
        "model_name": desired.model_name,
        "version": desired.version,
        "revision": desired.revision,
        "state": state,
        "error": None,
        "hosts": 0,
        "hosts_wanted": 0,
        "pids": [],
        "memory_bytes": 0,
        "load_ms": None,
        "outputs": None,
        "batch_size": desired.settings.batch_rows if desired.settings.batch_rows != "auto" else 1,
        "batch_rows": None,
        "batch_p95_ms": None,
        "predict_p95_ms": None,
    }
