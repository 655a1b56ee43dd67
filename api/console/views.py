"""The data of the console's pages, put together from what the HTTP routes show. Must not decide anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.aliases import service as alias_service
from api.auth import identity
from api.console import charts, rates, text
from api.console.rates import Rate
from api.deployments import service as deployment_service
from api.jobs import position, replays, steps
from api.journal import service as journal_service
from api.models import service as model_service
from api.process.services import Services
from registry import deployments, names
from registry.deployments import DesiredDeployment, Intent
from registry.errors import ArtifactStoreUnavailable
from workers.deployments import status
from workers.errors import DeliveryNotFound, PoisonJob
from workers.jobs import dead_letters, query
from workers.jobs.query import JobView
from workers.measures.reports import GpuReport, MemoryReport, SeenReport
from workers.platform.ids import pipeline_of
from workers.webhooks import store as deliveries

View = dict[str, Any]
#: How many jobs an overview shows.
_FEW_JOBS = 8
_MANY_LETTERS = 100
#: Statuses of deployments that need attention, the worst first.
_NEEDY = (status.FAILED, status.DEGRADED)


@dataclass(frozen=True, slots=True)
class Row:
    """A deployment in a list: as the API shows it, and how fast its jobs end."""

    view: View
    rate: Rate

    @property
    def ready(self) -> list[View]:
        """What workers have loaded of it and serve."""
        return [each for each in self.view["workers"] if each["state"] == "ready"]

    @property
    def hosts(self) -> int:
        """Model hosts that are ready."""
        return sum(each["hosts"] for each in self.ready)

    @property
    def ended(self) -> int:
        """Jobs that ended since the first deploy."""
        return int(self.view["succeeded_count"] + self.view["failed_count"])

    @property
    def failed_share(self) -> float:
        """The share of them that failed; 0 if none has ended."""
        return self.view["failed_count"] / self.ended if self.ended else 0.0

    @property
    def sort_key(self) -> tuple[int, str]:
        """Where it stands in a list: what needs attention first, then by name."""
        state = self.view["status"]
        return _NEEDY.index(state) if state in _NEEDY else len(_NEEDY), self.view["endpoint_name"]


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker in a list."""

    report: SeenReport

    @property
    def hosts(self) -> int:
        """Its model hosts."""
        return sum(version["hosts"] for version in self._versions)

    @property
    def memory_bytes(self) -> int:
        """What its model hosts take."""
        return sum(version["memory_bytes"] for version in self._versions)

    @property
    def memory(self) -> MemoryReport | None:
        """What its hosts use and may use, and its cold starts; None for a worker of an earlier release."""
        return self.report.get("memory")

    @property
    def gpus(self) -> list[GpuReport]:
        """Its GPUs, and what is used of them."""
        return self.report.get("gpus", [])

    @property
    def endpoints(self) -> list[str]:
        """What it serves."""
        return sorted(name for name in self.report["endpoints"] if not names.is_replay(name))

    @property
    def held(self) -> int:
        """Jobs that it has fetched, those that run among them."""
        return sum(each["waiting"] + each["running"] for each in self.report["endpoints"].values())

    @property
    def _versions(self) -> list[Mapping[str, Any]]:
        return [version for each in self.report["endpoints"].values() for version in each["versions"]]


def overview(here: Services) -> View:
    """Return the data of the first page."""
    rows = sorted(_rows(here), key=lambda row: row.sort_key)
    workers = [WorkerRow(each) for each in status.live_workers()]
    known = [row.rate.jobs_per_s for row in rows if row.rate.jobs_per_s is not None]
    return {
        "rows": rows,
        "workers": workers,
        "active": sum(row.view["status"] in status.SETTLED for row in rows),
        "queued": sum(row.view["queue_depth"] for row in rows),
        "jobs_per_s": sum(known) if known else None,
        "dead_letters": dead_letters.count(),
        "models": [] if rows else model_service.list_models(here),
    }


def deployment(here: Services, endpoint_name: str, *, with_charts: bool) -> View:
    """Return the data of a deployment's page. Raises DeploymentNotFound."""
    view = deployment_service.show(here, endpoint_name)
    return {
        "row": Row(view, rates.current().note([view])[endpoint_name]),
        "versions": _versions(here, view["model_name"]),
        "jobs": query.recent(endpoint_name, limit=_FEW_JOBS),
        "takes_jobs": takes_jobs(view),
        "panels": charts.panels(endpoint_name) if with_charts else [],
        "journal": _journal(here, view) if with_charts else None,
    }


def other_versions(here: Services, endpoint_name: str) -> tuple[View, list[str]]:
    """Return a deployment, and the versions that can be its candidate, latest first. Raises DeploymentNotFound."""
    view = deployment_service.show(here, endpoint_name)
    return view, [each for each in _versions(here, view["model_name"]) if each != view["version"]]


def _journal(here: Services, view: View) -> View | None:
    """Return how much of a deployment's jobs is kept; None if none are, or if the files can't be looked at now."""
    if not view["settings"].get("journal"):
        return None
    try:
        return journal_service.show(here, view["endpoint_name"])
    except ArtifactStoreUnavailable:
        return None


def change(here: Services, endpoint_name: str) -> View:
    """Return what a deploy under this name would change: the row as it is now, also an undeployed one, and its view.

    `revision` is what the change has to name, so that it is refused after a change by another operator.
    """
    with here.database.session() as session:
        row = deployments.find(session, endpoint_name)
    view = status.views([row])[0] if row is not None else None
    there = view is not None and view["status"] != deployment_service.UNDEPLOYED
    return {"row": row, "before": view if there else None, "revision": 0 if row is None else row.revision}


def model(here: Services, model_name: str) -> View:
    """Return the data of a model's page. Raises ModelNotFound."""
    found = model_service.show_model(here, model_name)
    return {
        "model": found,
        "versions": found["versions"][::-1],
        "bound": bound(here, model_name),
        "aliases": alias_service.list_all(here, model_name),
    }


def bound(here: Services, model_name: str) -> dict[str, list[str]]:
    """Return the endpoints of each version of a model that has any."""
    found: dict[str, list[str]] = {}
    for view in deployment_service.list_all(here):
        if view["model_name"] == model_name:
            found.setdefault(view["version"], []).append(view["endpoint_name"])
    return found


def open_endpoints(here: Services) -> list[DesiredDeployment]:
    """Return the deployments that take the caller's jobs, by endpoint name."""
    with here.database.session() as session:
        serving = [each for each in deployments.desired(session) if each.intent is Intent.SERVE]
    caller = identity.current()
    return [each for each in serving if caller.may_use(each.endpoint_name)]


def endpoint_names(here: Services) -> list[str]:
    """Return the names of endpoints that jobs of the caller may have been for, also undeployed ones."""
    with here.database.session() as session:
        known = deployments.desired(session)
    caller = identity.current()
    return [each.endpoint_name for each in known if caller.may_use(each.endpoint_name)]


def job(here: Services, job_id: str) -> View:
    """Return the data of a job's page. Raises JobNotFound."""
    found = steps.with_steps(position.with_position(here, query.get(job_id, identity.current().sees_jobs_of)))
    given_up = found.error is not None and found.error["type"] == PoisonJob.__name__
    kept = replays.find_kept_input(found)
    return {
        "job": found,
        "fields": _fields(found),
        "steps": found.document().get("steps", ()),
        "pipeline_id": pipeline_of(found.job_id),
        "given_up": given_up,
        "kept": kept,
        "again": {"input": _typed(kept), "many": "yes" if kept is not None and "inputs" in kept else ""},
        "problems": {},
        "delivery": _delivery(found),
    }


def _typed(kept: View | None) -> str:
    """Return a kept input as one can edit it; empty if it is too long for that."""
    if kept is None:
        return ""
    typed = text.json_lines(kept["inputs"] if "inputs" in kept else kept["input"])
    return "" if typed.endswith(text.CUT) else typed


def _delivery(job: JobView) -> View | None:
    """Return the delivery of a job's webhook; None if there is none, or none any more."""
    if not job.state.terminal:
        return None
    caller = identity.current()
    try:
        return deliveries.get(job.job_id, caller.sees_jobs_of).document(with_answers=caller.sees_answers)
    except DeliveryNotFound:
        return None


def _fields(job: JobView) -> View:
    """Return the fields that a job's page lists; the others have places of their own."""
    elsewhere = ("job_id", "endpoint_name", "status", "queue", "failures", "outcome", "error", "steps", "pipeline_id")
    document = job.document()
    return {name: value for name, value in document.items() if name not in elsewhere and value is not None}


def letters(endpoint_name: str | None) -> Sequence[View]:
    """Return the newest dead letters, without their inputs."""
    return [each.document(with_input=False) for each in dead_letters.newest(endpoint_name, _MANY_LETTERS)]


def _rows(here: Services) -> list[Row]:
    views = deployment_service.list_all(here)
    found = rates.current().note(views)
    return [Row(view, found[view["endpoint_name"]]) for view in views]


def _versions(here: Services, model_name: str) -> list[str]:
    return [each["version"] for each in model_service.show_model(here, model_name)["versions"]][::-1]


def takes_jobs(view: View) -> bool:
    """Tell whether a deployment takes new jobs."""
    return view["status"] not in (status.DRAINING, status.PARKED)
