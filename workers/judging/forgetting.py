"""Forgets jobs of the journal where versions are judged: examples in reports and comparisons, and jobs to replay."""

from __future__ import annotations

from collections.abc import Sequence

from registry.database import Database
from registry.database.tables import EvaluationRow
from registry.errors import EvaluationChanged
from registry.judging import stored_comparisons
from registry.judging.stored_comparisons import Source, StoredComparison
from workers.journal.forgetting import Which
from workers.judging import sample
from workers.judging.comparison import forgetting
from workers.judging.comparison.forgetting import ForgottenJobs

#: How often a row is read again that others change at the same time.
_TRIES = 50

Names = Sequence[tuple[Source, str]]


def watched(database: Database, endpoint_name: str | None = None) -> frozenset[str]:
    """Return the ids of all jobs that reports and comparisons name, of one endpoint or of all."""
    found = set[str]()
    for source, row_id in _names(database, endpoint_name):
        stored = _find(database, source, row_id)
        if stored is not None:
            found |= _ids(stored)
    return frozenset(found)


def forget(database: Database, which: Which, found_ids: frozenset[str]) -> int:
    """Remove the examples of jobs from all reports and comparisons, and the jobs from samples; return how many.

    `found_ids` are those of the watched jobs that the journal has forgotten. Examples whose owner or end is not known
    are removed if they may be meant.

    Raises:
        ArtifactStoreUnavailable, ArtifactStoreFull: a sample can't be read or written.
        RegistryUnavailable: the registry can't be reached.
    """
    jobs = ForgottenJobs(found_ids, frozenset(which.job_ids), which.owner, which.before)
    names = _names(database, which.endpoint_name)
    return sum(_forget_in(database, source, row_id, jobs) for source, row_id in names)


def _forget_in(database: Database, source: Source, row_id: str, jobs: ForgottenJobs) -> int:
    in_sample = 0
    for _ in range(_TRIES):
        stored = _find(database, source, row_id)
        if stored is None:
            return in_sample
        # The sample first: a process that reads the changed row reads the changed sample, too.
        in_sample += sample.forget(row_id, jobs) if stored.may_have_sample else 0
        report, in_report = (None, 0) if stored.report is None else forgetting.from_report(stored.report, jobs)
        comparison, in_comparison = _from_comparison(stored, jobs)
        count = in_sample + in_report + in_comparison
        # A process may have jobs of an open evaluation in memory alone: those that it chooses, or those of a sample
        # that an earlier try has changed.
        if not count and not stored.is_open_evaluation:
            return 0
        with database.session() as session:
            is_replaced = stored_comparisons.replace(session, stored, report, comparison)
            session.commit()
        if is_replaced:
            return count
    raise EvaluationChanged(row_id, "forget jobs", "changing")


def _from_comparison(stored: StoredComparison, jobs: ForgottenJobs) -> tuple[dict[str, object] | None, int]:
    comparison = stored.comparison
    if comparison is None or not comparison.get("comparison"):
        return comparison, 0
    state, count = forgetting.from_state(comparison["comparison"], jobs)
    changed = {**comparison, "comparison": state}
    if "job_ids" in comparison:
        changed["job_ids"] = [each for each in comparison["job_ids"] if not jobs.has(each)]
        count += len(comparison["job_ids"]) - len(changed["job_ids"])
    return changed, count


def _ids(stored: StoredComparison) -> set[str]:
    found = set() if stored.report is None else set(forgetting.ids_in_report(stored.report))
    comparison = stored.comparison or {}
    if comparison.get("comparison"):
        found |= set(forgetting.ids_in_state(comparison["comparison"]))
    found |= set(comparison.get("job_ids") or ())
    if stored.source is EvaluationRow and stored.may_have_sample:
        found |= {each.job_id for each in sample.read(stored.row_id)}
    return found


def _names(database: Database, endpoint_name: str | None) -> Names:
    with database.session() as session:
        return stored_comparisons.names(session, endpoint_name)


def _find(database: Database, source: Source, row_id: str) -> StoredComparison | None:
    with database.session() as session:
        return stored_comparisons.find(session, source, row_id)
