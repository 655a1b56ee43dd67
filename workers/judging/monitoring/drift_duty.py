"""The duty that computes the drift of the last 24 hours, of each endpoint with a journal.

A round is made every five minutes, by one of the background processes. A version without a reference gets one from its
first jobs since it was deployed, once there are enough. Then a sample of the jobs of the last 24 hours, after those of
the reference, is compared with it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import takewhile

from registry import deployments, versions
from registry.database import Database, default_database
from registry.deployments import DesiredDeployment, Intent
from registry.errors import ModelNotFound, VersionNotFound
from workers.journal import reading
from workers.journal.files import dataset
from workers.journal.rows import Row
from workers.judging.monitoring import references
from workers.judging.monitoring.drift import Collected
from workers.judging.monitoring.references import REFERENCE_JOBS, Reference
from workers.judging.monitoring.results import DRIFT, View, logged_errors
from workers.queues import dealing

_log = logging.getLogger(__name__)

_CHECK_INTERVAL_S = 5.0
_ROUND_S = 300
PERIOD_S = 86_400.0
#: Jobs of the last 24 hours that are looked at.
_MAX_JOBS = 5_000
_SALT = "drift"
#: Values of the sparkline: of eight hours.
_HISTORY = 96


class DriftDuty:
    """Computes drift; any number of background processes may have one."""

    name = "computing drift"

    def __init__(self, database: Database | None = None) -> None:
        self._database = database

    def run(self, stopping: threading.Event) -> None:
        """Compute until `stopping` is set.

        Raises:
            redis.RedisError: Redis can't be reached.
            RegistryUnavailable: the registry can't be reached.
        """
        while not stopping.wait(_CHECK_INTERVAL_S):
            if DRIFT.begin_round(_ROUND_S):
                self.compute(stopping)

    def compute(self, stopping: threading.Event) -> None:
        """Compute the drift of all endpoints with a journal. Raises as `run`."""
        with (self._database or default_database()).session() as session:
            desired = deployments.desired(session)
        wanted = [each for each in desired if each.settings.journal > 0]
        before = DRIFT.read_all()
        DRIFT.keep_only([each.endpoint_name for each in wanted], before)
        for deployment in wanted:
            if stopping.is_set():
                return
            DRIFT.go_on(_ROUND_S)
            with logged_errors("drift", deployment.endpoint_name):
                found = _drift(deployment, stopping)
                if not stopping.is_set():
                    DRIFT.write(deployment.endpoint_name, _with_history(found, before.get(deployment.endpoint_name)))
        self._prune(desired)

    def _prune(self, desired: Sequence[DesiredDeployment]) -> None:
        """Delete the references of versions and endpoints that are gone. An error is logged: it is tried again."""
        deployed = {each.endpoint_name: each for each in desired if each.intent in (Intent.SERVE, Intent.PARK)}
        with logged_errors("references of drift", "all endpoints"):
            with_journal = {each.endpoint_name for each in dataset.files()}
            if count := references.prune(deployed, with_journal, self._has_version):
                _log.info("%d references of drift were deleted with their versions or endpoints", count)

    def _has_version(self, model_name: str, version: str) -> bool:
        with (self._database or default_database()).session() as session:
            try:
                versions.get_version(session, model_name, version)
            except (ModelNotFound, VersionNotFound):
                return False
        return True


def _drift(deployment: DesiredDeployment, stopping: threading.Event) -> View:
    now = time.time()
    view: View = {"computed_at": now, "model_name": deployment.model_name, "version": deployment.version}
    view |= {"reference": None, "reference_job_count": REFERENCE_JOBS, "job_count": 0, "fields": [], "highest": None}
    found = references.read(deployment) or _new_reference(deployment, stopping)
    if not isinstance(found, Reference):
        return {**view, "reference_job_count": found}
    # Times are whole microseconds.
    since = max(now - PERIOD_S, found.last_at + 1e-6)
    collected = Collected()
    for row in _sampled(deployment, since, stopping):
        references.add(collected, row)
    fields = collected.drift(found.fields)
    known = [each.index for each in fields if each.index is not None]
    return {
        **view,
        "reference": found.facts(),
        "reference_job_count": found.jobs,
        "job_count": collected.jobs,
        "fields": [each.document() for each in fields],
        "highest": max(known, default=None),
    }


def _new_reference(deployment: DesiredDeployment, stopping: threading.Event) -> Reference | int:
    since = deployment.deployed_at.timestamp()
    found = reading.found_rows(deployment.endpoint_name, since=since)
    made = references.collect(deployment, _until(stopping, found))
    if isinstance(made, Reference):
        references.write(deployment, made)
        _log.info("%s has a reference of drift for version %s", deployment.endpoint_name, deployment.version)
    return made


def _sampled(deployment: DesiredDeployment, since: float, stopping: threading.Event) -> Iterator[Row]:
    name = deployment.endpoint_name
    share = _MAX_JOBS / max(1, reading.count(name, since=since))
    for row in _until(stopping, reading.found_rows(name, since=since)):
        if (share >= 1 or dealing.share(_SALT, row.job_id) < share) and references.is_of(row, deployment):
            yield row


def _until(stopping: threading.Event, found: Iterator[Row]) -> Iterator[Row]:
    return takewhile(lambda _: not stopping.is_set(), found)


def _with_history(found: View, before: View | None) -> View:
    """Return the result with the highest index of it and of earlier ones of this version, the newest last."""
    is_same = before is not None and (before["model_name"], before["version"]) == (
        found["model_name"],
        found["version"],
    )
    history = before["history"] if before is not None and is_same else []
    return {**found, "history": [*history, found["highest"]][-_HISTORY:]}
