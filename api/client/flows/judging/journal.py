"""The journal: ended jobs with inputs and outcomes, a page at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, Union

from api.client import arrays
from api.client.documents import JournalKept
from api.client.flows.calls import answered, call
from api.client.steps import Answer, Emit, Flow, Repeat, Request, path_of

#: Header: the cursor of the next page; absent on the last one.
_CURSOR = "queuecast-cursor"
_JOBS_OF_PAGE = 5_000
#: A page may have to be found in many files.
_PAGE_WAIT_S = 60.0
#: Files are read and written again.
FORGET_TIMEOUT_S = 600.0

_FEEDBACK_AT_ONCE = 5_000
_JSON = {"Content-Type": "application/json"}

Moment = Union[str, datetime]


def pages(endpoint_name: str, since: Moment, until: Moment | None, form: str, timeout_s: float) -> Flow[None]:
    """Emit the content of one page after the other; each is whole, as NDJSON or as a Parquet file.

    Each page may take `timeout_s`, with all that is tried again.
    """
    query: dict[str, Any] = {"since": moment_text(since), "format": form, "limit": _JOBS_OF_PAGE}
    if until is not None:
        query["until"] = moment_text(until)
    path = path_of("deployments", endpoint_name, "journal")
    is_last = False
    while not is_last:
        page: Answer = yield from answered(Request("GET", path, dict(query), wait_s=_PAGE_WAIT_S), _ends_at(timeout_s))
        yield Emit(page.content)
        query["cursor"] = page.headers.get(_CURSOR)
        is_last = query["cursor"] is None


def entries(endpoint_name: str, since: Moment, until: Moment | None, timeout_s: float) -> Flow[None]:
    """Emit one job after the other."""
    source = pages(endpoint_name, since, until, "ndjson", timeout_s)
    reply: Any = None
    try:
        while True:
            step = source.send(reply)
            reply = None
            if isinstance(step, Emit):
                for line in step.value.splitlines():
                    yield Emit(json.loads(line))
            else:
                reply = yield step
    except StopIteration:
        return


def kept(endpoint_name: str, ends_at: float) -> Flow[JournalKept]:
    """Return how much of an endpoint's jobs is kept."""
    request = Request("GET", path_of("deployments", endpoint_name, "journal", "kept"))
    return JournalKept.of((yield from call(request, ends_at)))


def forget(endpoint_name: str | None, which: Mapping[str, Moment | None], ends_at: float) -> Flow[int]:
    """Forget jobs of an endpoint, or of all; return how many."""
    query = {name: moment_text(value) for name, value in which.items() if value is not None}
    path = path_of("journal") if endpoint_name is None else path_of("deployments", endpoint_name, "journal")
    request = Request("DELETE", path, query, repeat=Repeat.ALWAYS, wait_s=FORGET_TIMEOUT_S)
    count: int = (yield from call(request, ends_at))["forgotten_count"]
    return count


def give_feedback(job_id: str, truth: Any, weight: float, ends_at: float) -> Flow[None]:
    """Say what is right for a job."""
    content = arrays.to_json({"truth": truth, "weight": weight})
    path = path_of("jobs", job_id, "feedback")
    yield from call(Request("POST", path, headers=_JSON, content=content, repeat=Repeat.ALWAYS), ends_at)


def give_much_feedback(feedback: Iterable[tuple[str, Any]], timeout_s: float) -> Flow[list[str]]:
    """Say what is right for many jobs, in calls of a bounded size; return the ids of those that are unknown."""
    unknown, left = list[str](), iter(feedback)
    while some := list(islice(left, _FEEDBACK_AT_ONCE)):
        content = b"\n".join(arrays.to_json({"job_id": job_id, "truth": truth}) for job_id, truth in some)
        headers = {"Content-Type": "application/x-ndjson"}
        request = Request("POST", path_of("feedback"), headers=headers, content=content, repeat=Repeat.ALWAYS)
        unknown += (yield from call(request, _ends_at(timeout_s)))["unknown_job_ids"]
    return unknown


def _ends_at(timeout_s: float) -> float:
    return time.monotonic() + timeout_s


def moment_text(moment: Moment) -> str:
    """Return a time as the service takes it."""
    return moment if isinstance(moment, str) else moment.astimezone().isoformat()
