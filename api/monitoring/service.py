"""Shows quality and drift of a deployment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from api.journal.schemas import moment
from api.monitoring.schemas import QualityQuery
from api.process.services import Services
from registry import deployments
from registry.deployments import DesiredDeployment
from registry.errors import DeploymentNotFound
from workers.judging.monitoring import quality
from workers.judging.monitoring.results import QUALITY
from workers.platform.redis.client import translated_errors

View = dict[str, Any]


def show_quality(services: Services, endpoint_name: str, wanted: QualityQuery) -> View:
    """Return how good the answers of an endpoint are.

    Raises:
        DeploymentNotFound: it was never deployed.
        ArtifactStoreUnavailable, QueueUnavailable: the journal can't be read.
    """
    _deployment(services, endpoint_name)
    since, until = moment(wanted.since), None if wanted.until is None else moment(wanted.until)
    with translated_errors():
        found = quality.of_journal(endpoint_name, since, until)
    return {"endpoint_name": endpoint_name, "since": _iso(since), "until": _iso(until), **found}


def recent_quality(endpoint_name: str) -> View | None:
    """Return the measures of the last 24 hours, as a background process has computed them last; None without feedback.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        found = QUALITY.read(endpoint_name)
    return found if found is not None and found["versions"] else None


def _deployment(services: Services, endpoint_name: str) -> DesiredDeployment:
    with services.database.session() as session:
        found = deployments.find(session, endpoint_name)
    if found is None:
        raise DeploymentNotFound(endpoint_name)
    return found


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
