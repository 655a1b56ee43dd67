"""The statistics extension: what is counted of each deployment, in the protocol's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.auth import identity
from api.deployments import service as deployment_service
from api.process.services import Services
from api.v2 import naming
from registry import deployments
from workers.deployments import status
from workers.jobs import query
from workers.jobs.query import JobState
from workers.measures import counters
from workers.measures.counters import Counted

View = Mapping[str, Any]
_NS_PER_MS = 1_000_000
#: What is not counted apart; a count of 0 says so.
_UNCOUNTED = ("queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")


def of_all(services: Services) -> dict[str, Any]:
    """Return the statistics of every deployment, by its endpoint's name.

    Raises:
        RegistryUnavailable, QueueUnavailable: they can't be looked at.
    """
    found = deployment_service.observe(services)
    each = zip(found.views, found.counted, strict=True)
    return {"model_stats": [_statistics(view["endpoint_name"], view, counted) for view, counted in each]}


def of_model(services: Services, name: str, version: str | None) -> dict[str, Any]:
    """Return the statistics of an endpoint, or of every deployment of a model.

    Raises:
        EndpointNotDeployed: nothing that is called so takes jobs.
        RegistryUnavailable, QueueUnavailable: they can't be looked at.
    """
    found = [naming.serving(services, identity.current(), name, version)]
    if found[0].endpoint_name != name:
        with services.database.session() as session:
            found = deployments.serving(session, name, version)
    seen = status.observe(found)
    each = zip(seen.views, seen.counted, strict=True)
    return {"model_stats": [_statistics(name, view, counted) for view, counted in each]}


def _statistics(name: str, view: View, counted: Counted) -> dict[str, Any]:
    succeeded, failed = view["succeeded_count"], view["failed_count"]
    ended = succeeded + failed
    # The view's mean is of the last minutes; the protocol's times add up for ever, as its counts do.
    mean_ns = counters.sum_ms(counted) * _NS_PER_MS / ended if ended else 0.0
    return {
        "name": name,
        "version": view["version"],
        "last_inference": _last_inference_ms(view["endpoint_name"]) if succeeded else 0,
        "inference_count": succeeded,
        "execution_count": succeeded,
        "inference_stats": {
            "success": _duration(succeeded, mean_ns),
            "fail": _duration(failed, mean_ns),
            **{each: _duration(0, 0) for each in _UNCOUNTED},
        },
        "batch_stats": [],
    }


def _duration(count: int, mean_ns: float) -> dict[str, int]:
    return {"count": count, "ns": round(count * mean_ns)}


def _last_inference_ms(endpoint_name: str) -> int:
    last = query.recent(endpoint_name, JobState.SUCCEEDED, 1)
    return round((last[0].finished_at or 0) * 1000) if last else 0
