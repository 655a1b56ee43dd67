"""Jobs that failed: errors that are new on the candidate, and those that are gone."""

from __future__ import annotations

import re
from typing import Any, Self

from workers.judging.comparison.document import ErrorGroup, Errors
from workers.judging.comparison.pairs import Answer, Pair
from workers.judging.comparison.statistics.intervals import mcnemar

_MAX_GROUPS = 50
_HEAD_LENGTH = 120
_DIGITS = re.compile(r"\d+")
_OTHER = ("other", "further errors")


class FailureTally:
    """Counts jobs that failed on one version or on both, in groups by code and beginning of the message."""

    def __init__(self) -> None:
        self._jobs = {"both": 0, "new": 0, "gone": 0}
        #: By new or gone, code and message: jobs, and the id of one.
        self._groups: dict[tuple[str, str, str], tuple[int, str]] = {}

    def add(self, pair: Pair) -> None:
        """Add the answers to one job."""
        failed = pair.stable.predictions is None, pair.candidate.predictions is None
        if not any(failed):
            return
        if all(failed):
            self._jobs["both"] += 1
            return
        side = "new" if failed[1] else "gone"
        self._jobs[side] += 1
        key = (side, *_group(pair.candidate if failed[1] else pair.stable))
        if key not in self._groups and len(self._groups) >= _MAX_GROUPS:
            key = (side, *_OTHER)
        jobs, job_id = self._groups.get(key, (0, pair.job_id))
        self._groups[key] = jobs + 1, job_id

    def report(self) -> Errors:
        """Return the part of the report."""
        both, new, gone = self._jobs["both"], self._jobs["new"], self._jobs["gone"]
        return Errors(
            stable_jobs=both + gone,
            candidate_jobs=both + new,
            both_jobs=both,
            new_jobs=new,
            gone_jobs=gone,
            p_value=mcnemar(new, gone),
            new=self._listed("new"),
            gone=self._listed("gone"),
        )

    def state(self) -> dict[str, Any]:
        """Return the counts as JSON."""
        return {"jobs": dict(self._jobs), "groups": [[*key, *each] for key, each in self._groups.items()]}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Return the tally of a state."""
        tally = cls()
        tally._jobs = dict(state["jobs"])
        tally._groups = {(side, code, head): (jobs, job_id) for side, code, head, jobs, job_id in state["groups"]}
        return tally

    def _listed(self, side: str) -> list[ErrorGroup]:
        found = [
            ErrorGroup(code=code, message=head, jobs=jobs, job_id=job_id)
            for (each, code, head), (jobs, job_id) in self._groups.items()
            if each == side
        ]
        return sorted(found, key=lambda each: (-each.jobs, each.code, each.message))


def _group(answer: Answer) -> tuple[str, str]:
    lines = (answer.error_message or "").splitlines()
    head = _DIGITS.sub("#", lines[0] if lines else "")
    return answer.error_code or "error", head[:_HEAD_LENGTH]
