"""Removes examples of jobs from reports and from the states of comparisons; the sums stay."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

#: In the place of the message of errors whose job is forgotten.
FORGOTTEN_MESSAGE = "(forgotten)"
Document = dict[str, Any]


@dataclass(frozen=True)
class ForgottenJobs:
    """Which jobs are forgotten: those to which all that is given applies, and those of `job_ids`."""

    #: Known to be meant: their rows were deleted from the journal.
    job_ids: Collection[str]
    #: The ids that were given; empty if none were.
    given_ids: Collection[str] = ()
    owner: str | None = None
    #: Jobs that ended before this time (s since the epoch).
    before: float | None = None

    def has(self, job_id: str) -> bool:
        """Whether a job is meant for certain, by its id."""
        return job_id in self.job_ids or (job_id in self.given_ids and self.owner is None and self.before is None)

    def may_mean(self, example: Mapping[str, Any]) -> bool:
        """Whether an example may be of such a job; one whose owner and end are not known may be of any."""
        job_id, ended_at = example["job_id"], example.get("finished_at")
        if self.has(job_id):
            return True
        if self.given_ids and job_id not in self.given_ids:
            return False
        if ended_at is None:
            return True
        return self.owner in (None, example.get("owner")) and (self.before is None or ended_at < self.before)


def ids_in_report(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the ids of the jobs that a report names."""
    groups = (*report["errors"]["new"], *report["errors"]["gone"])
    yield from (each["job_id"] for each in (*report["differences"], *groups))


def ids_in_state(state: Mapping[str, Any]) -> Iterator[str]:
    """Yield the ids of the jobs that the state of a comparison names."""
    yield from (each[2] for each in state["differences"])
    yield from (each[4] for each in state["failures"]["groups"])
    yield from (_job_of(each[1]) for each in state["details"])


def from_report(report: Mapping[str, Any], jobs: ForgottenJobs) -> tuple[Document, int]:
    """Return a report without the examples of these jobs, and how many there were."""
    kept = [each for each in report["differences"] if not jobs.may_mean(each)]
    errors = dict(report["errors"])
    count = len(report["differences"]) - len(kept)
    for side in ("new", "gone"):
        count += sum(jobs.has(each["job_id"]) for each in errors[side])
        errors[side] = [
            {**each, "message": FORGOTTEN_MESSAGE, "job_id": ""} if jobs.has(each["job_id"]) else each
            for each in errors[side]
        ]
    return {**report, "differences": kept, "errors": errors}, count


def from_state(state: Mapping[str, Any], jobs: ForgottenJobs) -> tuple[Document, int]:
    """Return the state of a comparison without the examples of these jobs, and how many there were."""
    differences = [each for each in state["differences"] if not jobs.may_mean(each[3])]
    details = [each for each in state["details"] if not jobs.has(_job_of(each[1]))]
    groups: dict[tuple[str, str, str], tuple[int, str]] = {}
    count = len(state["differences"]) - len(differences) + len(state["details"]) - len(details)
    for side, code, head, number, job_id in state["failures"]["groups"]:
        is_forgotten = jobs.has(job_id)
        count += is_forgotten
        key = (side, code, FORGOTTEN_MESSAGE if is_forgotten else head)
        groups[key] = groups.get(key, (0, ""))[0] + number, "" if is_forgotten else job_id
    failures = {**state["failures"], "groups": [[*key, *each] for key, each in groups.items()]}
    return {**state, "differences": differences, "details": details, "failures": failures}, count


def _job_of(key: str) -> str:
    """Return the job of a detailed row, whose key is the job's id and the number of the row."""
    return key.rpartition(":")[0]
