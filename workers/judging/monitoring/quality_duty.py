"""The duty that computes quality, of each endpoint that has new feedback: of the last 24 hours, and by day.

A round is made at most once a minute, by one of the background processes. Without new feedback, a result is computed
anew every 15 minutes: jobs leave the 24 hours.
"""

from __future__ import annotations

import threading
import time

from registry import deployments
from registry.database import Database, default_database
from registry.deployments import DesiredDeployment
from workers.journal import feedback
from workers.judging.monitoring import quality, quality_days
from workers.judging.monitoring.results import QUALITY, QUALITY_DAYS, View, logged_errors

_CHECK_INTERVAL_S = 5.0
_ROUND_S = 60
_ANEW_S = 900.0
PERIOD_S = 86_400.0


class QualityDuty:
    """Computes quality; any number of background processes may have one."""

    name = "computing quality by feedback"

    def __init__(self, database: Database | None = None) -> None:
        self._database = database

    def run(self, stopping: threading.Event) -> None:
        """Compute until `stopping` is set.

        Raises:
            redis.RedisError: Redis can't be reached.
            RegistryUnavailable: the registry can't be reached.
        """
        while not stopping.wait(_CHECK_INTERVAL_S):
            if QUALITY.begin_round(_ROUND_S):
                self.compute(stopping)

    def compute(self, stopping: threading.Event) -> None:
        """Compute what is due now. Raises as `run`."""
        with (self._database or default_database()).session() as session:
            found = {each.endpoint_name: each for each in deployments.desired(session)}
        counts, before = feedback.counts(list(found)), QUALITY.read_all()
        for results, known in ((QUALITY, before), (QUALITY_DAYS, before)):
            results.keep_only(found, known)
        for name, deployment in found.items():
            if not stopping.is_set() and _is_due(counts[name], before.get(name)):
                QUALITY.go_on(_ROUND_S)
                with logged_errors("quality", name):
                    _compute(deployment, counts[name])


def _is_due(feedback_count: int, before: View | None) -> bool:
    if before is None:
        return feedback_count > 0
    is_old = time.time() - before["computed_at"] >= _ANEW_S
    has_more = before.get("pending_days", 1) > 0
    return bool(feedback_count != before["feedback_count"] or has_more or (before["versions"] and is_old))


def _compute(deployment: DesiredDeployment, feedback_count: int) -> None:
    endpoint_name = deployment.endpoint_name
    # The days first: what comes while they are computed is due again.
    days = quality_days.updated(QUALITY_DAYS.read(endpoint_name), deployment, lambda: QUALITY.go_on(_ROUND_S))
    QUALITY_DAYS.write(endpoint_name, days)
    now = time.time()
    found = quality.of_journal(endpoint_name, now - PERIOD_S)
    result = {"computed_at": now, "feedback_count": feedback_count, "versions": found["versions"]}
    result["pending_days"] = len(days["pending"])
    QUALITY.write(endpoint_name, result)
