"""The figures of a deployment over time, for programs, the command line and the console's charts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from api.process.services import Services
from registry import deployments
from registry.errors import DeploymentNotFound
from workers.measures import figures


def stats(services: Services, endpoint_name: str, since_s: int) -> dict[str, Any]:
    """Return an endpoint's figures of the last `since_s` seconds; also of an endpoint that was undeployed.

    Raises:
        DeploymentNotFound: there was never a deployment of this name.
        QueueUnavailable: Redis can't be reached.
    """
    with services.database.session() as session:
        if deployments.find(session, endpoint_name) is None:
            raise DeploymentNotFound(endpoint_name)
    points = figures.read(endpoint_name, since_s)
    return {
        "endpoint_name": endpoint_name,
        "since_s": since_s,
        "step_s": figures.step_s(since_s),
        "summary": figures.summary(points).document(),
        "buckets": [{"at": _iso(point.at_s), **point.figures.document()} for point in points],
    }


def _iso(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat()
