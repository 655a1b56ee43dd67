"""Deployments and reports of workers as tests need them, without a registry or a worker."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from registry.deployments import DesiredDeployment, Intent
from registry.serving_settings import ServingSettings
from registry.signature import Signature
from workers.reports import EndpointReport, HostsState, VersionReport, WorkerReport

_LONG_AGO = datetime(2026, 1, 2, tzinfo=UTC)


def deployment(
    endpoint_name: str = "adding",
    *,
    intent: Intent = Intent.SERVE,
    revision: int = 1,
    version: str = "1",
    worker_group: str = "default",
    **settings: Any,
) -> DesiredDeployment:
    """What the registry says of an endpoint."""
    return DesiredDeployment(
        endpoint_name=endpoint_name,
        model_name="adder",
        version=version,
        runtime="python",
        runtime_options={},
        artifact_sha256="0" * 64,
        artifact_size_bytes=1,
        signature=Signature.parse({"kind": "scalar", "dtype": "float"}),
        input_example=1.0,
        settings=ServingSettings.parse(settings),
        worker_group=worker_group,
        intent=intent,
        revision=revision,
        deployed_at=_LONG_AGO,
        updated_at=_LONG_AGO,
    )


def version_report(state: HostsState, *, revision: int = 1, **more: Any) -> VersionReport:
    """What a worker says of one version; its number is that of the revision."""
    ready = int(state is HostsState.READY)
    report: VersionReport = {
        "model_name": "adder",
        "version": str(revision),
        "revision": revision,
        "state": state,
        "error": None,
        "hosts": ready,
        "hosts_wanted": 1,
        "pids": [4_711] * ready,
        "memory_bytes": 0,
        "load_ms": None,
    }
    return {**report, **more}  # type: ignore[typeddict-item]


def endpoint_report(*versions: VersionReport, waiting: int = 0, jobs_per_s: float = 0.0) -> EndpointReport:
    """What a worker says of one endpoint."""
    return {"versions": list(versions), "waiting": waiting, "running": 0, "jobs_per_s": jobs_per_s}


def worker_report(
    worker: str = "w@1", worker_group: str = "default", endpoints: Mapping[str, EndpointReport] | None = None
) -> WorkerReport:
    """What a worker says of itself."""
    return {
        "worker": worker,
        "worker_group": worker_group,
        "pid": os.getpid(),
        "started_at": 1.0,
        "endpoints": endpoints or {},
    }
