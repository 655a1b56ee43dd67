"""Quality by UTC day: computed when feedback comes, and kept in Redis, so that a request reads no journal.

A day is computed again if its journal may have a job with new feedback, which the filters of its files say. Days are
kept as long as the journal keeps their jobs; a round computes a few of them, the others wait for the next ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from registry.deployments import DesiredDeployment
from workers.journal import feedback, searching
from workers.journal.files import dataset
from workers.judging.monitoring import quality
from workers.judging.monitoring.quality import QualityTally

View = dict[str, Any]
#: Days that a round computes of one endpoint.
DAYS_A_ROUND = 31
#: Days that are kept of one endpoint.
MAX_DAYS = 400
#: Feedback that came so long before the last computation is looked at again: clocks differ, and computing takes time.
_OVERLAP_S = 120.0


def updated(before: View | None, deployment: DesiredDeployment, keep_turn: Callable[[], None]) -> View:
    """Return the days of an endpoint with those computed that are due; `keep_turn` is called before each.

    Raises:
        redis.RedisError: Redis can't be reached.
        ArtifactStoreUnavailable: the artifact store can't be reached.
    """
    name, now = deployment.endpoint_name, time.time()
    today = _day(now)
    first = today - timedelta(days=min(MAX_DAYS, deployment.settings.journal_retention_days))
    due = [each for each in _due(name, before, today) if each >= first]
    computed, waiting = due[:DAYS_A_ROUND], due[DAYS_A_ROUND:]
    days = {} if before is None else {day: state for day, state in before["days"].items() if day >= first.isoformat()}
    truths = feedback.truths(name, _start(min(computed))) if computed else {}
    for day in computed:
        keep_turn()
        found = quality.tally_of(name, truths, _start(day), _start(day + timedelta(days=1)))
        days.pop(day.isoformat(), None)
        if not found.is_empty:
            days[day.isoformat()] = found.state()
    return {"computed_at": now, "pending": [each.isoformat() for each in waiting], "days": days}


def report(found: View, since: date, until: date | None) -> View:
    """Return the measures of the days from `since` to `until`, both included: `versions` and `days`."""
    tally = QualityTally()
    for day, state in found["days"].items():
        if since.isoformat() <= day and (until is None or day <= until.isoformat()):
            tally.merge(QualityTally.restored(state))
    return tally.report()


def _due(endpoint_name: str, before: View | None, today: date) -> list[date]:
    """Return the days to compute: today and yesterday, those that wait for it, and those with new feedback."""
    files, _ = dataset.current(dataset.files(endpoint_name))
    # Jobs of today, and those of yesterday that were still to be moved, may be in no file.
    due = dict.fromkeys([today, today - timedelta(days=1)])
    newest_first = sorted(files, key=lambda each: each.day, reverse=True)
    if before is None:
        return list(due | dict.fromkeys(each.day for each in newest_first))
    due |= dict.fromkeys(map(date.fromisoformat, before["pending"]))
    since = before["computed_at"] - _OVERLAP_S
    given = feedback.given_since(endpoint_name, since)
    for file in newest_first:
        # Jobs of earlier days that have waited in the stream may have come with a new file.
        is_new = file.modified_at >= since
        if file.day not in due and (is_new or (given and searching.may_have(file, given))):
            due[file.day] = None
    return list(due)


def _day(at: float) -> date:
    return datetime.fromtimestamp(at, UTC).date()


def _start(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
