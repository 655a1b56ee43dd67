"""Shows quality and drift of a deployment."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from api.journal.schemas import moment
from api.monitoring.schemas import QualityQuery
from api.process.services import Services
from registry import deployments
from registry.deployments import DesiredDeployment
from registry.errors import DeploymentNotFound
from workers.judging.monitoring import quality_days
from workers.judging.monitoring.drift import LEAST_RECENT_ROWS
from workers.judging.monitoring.references import REFERENCE_JOBS
from workers.judging.monitoring.results import DRIFT, QUALITY, QUALITY_DAYS
from workers.platform.redis.client import translated_errors

View = dict[str, Any]
_NOT_COMPUTED: View = {
    "computed_at": None, "reference": None, "job_count": 0, "highest": None, "fields": [], "history": [],
}  # fmt: skip


def show_quality(services: Services, endpoint_name: str, wanted: QualityQuery) -> View:
    """Return how good the answers of an endpoint are, on whole UTC days, as a background process has computed it last.

    Raises:
        DeploymentNotFound: it was never deployed.
        QueueUnavailable: Redis can't be reached.
    """
    _deployment(services, endpoint_name)
    first, last = _day(moment(wanted.since)), None if wanted.until is None else _day(moment(wanted.until), is_end=True)
    with translated_errors():
        found = QUALITY_DAYS.read(endpoint_name)
    return {
        "endpoint_name": endpoint_name,
        "since": _start(first).isoformat(),
        "until": None if last is None else _start(last + timedelta(days=1)).isoformat(),
        "computed_at": None if found is None else _iso(found["computed_at"]),
        "pending_days": 0 if found is None else len(found["pending"]),
        **({"versions": [], "days": []} if found is None else quality_days.report(found, first, last)),
    }


def _day(at: float, *, is_end: bool = False) -> date:
    """Return the UTC day of a time; for the end of a period, which is not a part of it, the last day before it."""
    moved = max(0.0, at - 1e-6) if is_end else at
    return datetime.fromtimestamp(moved, UTC).date()


def _start(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def recent_quality(endpoint_name: str) -> View | None:
    """Return the measures of the last 24 hours, as a background process has computed them last; None without feedback.

    Raises:
        QueueUnavailable: Redis can't be reached.
    """
    with translated_errors():
        found = QUALITY.read(endpoint_name)
    return found if found is not None and found["versions"] else None


def show_drift(services: Services, endpoint_name: str) -> View:
    """Return how inputs and answers have changed, as a background process has computed it last.

    Raises:
        DeploymentNotFound: it was never deployed.
        QueueUnavailable: Redis can't be reached.
    """
    deployment = _deployment(services, endpoint_name)
    with translated_errors():
        found = DRIFT.read(endpoint_name)
    names = {"endpoint_name": endpoint_name, "model_name": deployment.model_name, "version": deployment.version}
    if found is None or (found["model_name"], found["version"]) != (deployment.model_name, deployment.version):
        found = _NOT_COMPUTED
    reference, at = found["reference"], found["computed_at"]
    return {
        **names,
        "reason": _reason(deployment, found),
        "computed_at": _iso(at),
        "reference": None if reference is None else _with_times(reference),
        "job_count": found["job_count"],
        "highest": found["highest"],
        "fields": sorted(found["fields"], key=lambda each: (-(each["index"] or 0.0), each["index"] is None)),
        "history": found["history"],
    }


def _reason(deployment: DesiredDeployment, found: View) -> str | None:
    if found["highest"] is not None:
        return None
    if not deployment.settings.journal:
        return "The deployment keeps no jobs: set `journal`."
    if found["computed_at"] is None:
        return "No background process has computed it yet."
    if found["reference"] is None:
        jobs = found["reference_job_count"]
        return f"The reference needs {REFERENCE_JOBS} jobs of this version in the journal; there are {jobs}."
    if not found["fields"] or found["job_count"] < LEAST_RECENT_ROWS:
        return f"Too few jobs of the last 24 hours came after those of the reference: {found['job_count']}."
    return "No field can be compared: its values are hardly repeated, or chance alone may make the index large."


def _with_times(reference: View) -> View:
    return {**reference, "first_at": _iso(reference["first_at"]), "last_at": _iso(reference["last_at"])}


def _deployment(services: Services, endpoint_name: str) -> DesiredDeployment:
    with services.database.session() as session:
        found = deployments.find(session, endpoint_name)
    if found is None:
        raise DeploymentNotFound(endpoint_name)
    return found


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
