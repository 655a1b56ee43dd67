"""Makes the plan of a job that fails because its successors are too long: what says of the failure, without arguments.

The rest of the chain fails with the job and never runs, and so does the body of its chord: their inputs are needed no
more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from registry import names
from workers.errors import SuccessorsTooLong
from workers.jobs.endings import successors
from workers.jobs.endings.successors import Plan

#: Most bytes of such a plan: it is in memory in Redis only until a worker has failed the job.
MOST_BYTES = 16 * successors.MOST_BYTES
#: What of the options of a signature Celery uses when a task before it has failed.
_USED = ("task_id", "group_id", "group_index", "chord", "chain")


def plan_of_failure(job_id: str, plan: Plan) -> bytes:
    """Return the plan of a job that fails; without its errbacks if they are too long, empty if the rest is too."""
    said = replace(plan, callbacks=(), children=(), chain=[_without_arguments(each) for each in plan.chain])
    if plan.chord:
        said = replace(said, chord=_of_body(plan.chord))
    for errbacks in (plan.errbacks, ()):
        try:
            return successors.encode(job_id, replace(said, errbacks=errbacks), MOST_BYTES)
        except SuccessorsTooLong:
            continue
    return b""


def _of_body(signature: Any) -> Any:
    """Return the body of a chord without arguments, with its errbacks: they run if the chord fails."""
    said, errbacks = _without_arguments(signature), (signature.get("options") or {}).get("link_error")
    return {**said, "options": {**said["options"], "link_error": errbacks}} if errbacks else said


def _without_arguments(signature: Any) -> Any:
    """Return a signature that can only fail: it still names its task, its endpoint if it is a job of ours, and its id.

    A canvas as a whole stays as it is.
    """
    if signature.get("subtask_type"):
        return signature
    args, kwargs = signature.get("args") or (), signature.get("kwargs") or {}
    options = {name: value for name, value in (signature.get("options") or {}).items() if value and name in _USED}
    if "chord" in options:
        options["chord"] = _of_body(options["chord"])
    if "chain" in options:
        options["chain"] = [_without_arguments(each) for each in options["chain"]]
    names_in = {name: value for name, value in kwargs.items() if name == "endpoint_name" and _is_name(value)}
    return {**signature, "args": [each for each in args[:1] if _is_name(each)], "kwargs": names_in, "options": options}


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and names.could_exist(value)
