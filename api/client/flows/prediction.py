"""Submitting a job, and waiting for its end."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from api.client import arrays
from api.client.errors import Conflict, RequestRefused, SettingsWrong, WaitTimedOut, unsuccessful
from api.client.flows.calls import answered, call, document_of
from api.client.options import SubmitOptions, given
from api.client.steps import Document, Flow, Pause, Request, path_of

UNFINISHED = ("queued", "running")
#: How long one request is held; longer waits are several. Proxies cut what is silent for a minute.
POLL_S = 25.0
#: A service that holds no more requests answers at once: no reason to ask it without a pause.
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
#: A job that will begin much later need not be asked for so soon: only after this share of its wait, or this long.
_SHARE_OF_WAIT, _LONGEST_PAUSE_OF_WAIT_S = 0.5, 10.0
#: How the server says that a job that it waited for has no outcome.
_ENDED_BADLY = ("prediction_failed", "job_withdrawn")


class Unset:
    """No input, where None is one."""


UNSET = Unset()


@dataclass(frozen=True)
class Wanted:
    """A prediction as a caller asks for it."""

    endpoint_name: str | None
    input: Any
    inputs: Any
    options: SubmitOptions

    @property
    def of_array(self) -> bool:
        """Whether the prediction is to be an array if it can."""
        return arrays.is_array(self.input if self.inputs is None else self.inputs)

    def request(self) -> Request:
        """Return the submit. Raises SettingsWrong, InputNotJson or TypeError."""
        options = given(SubmitOptions, self.options)
        if (self.endpoint_name is None) == ("model_name" not in options):
            raise SettingsWrong("Name either an endpoint or, with model_name=, a model.")
        if isinstance(self.input, Unset) == (self.inputs is None):
            raise SettingsWrong("Give either one input or, with inputs=, a list of them.")
        rows = {"input": self.input} if self.inputs is None else {"inputs": _listed(self.inputs)}
        key = options.pop("idempotency_key", None) or str(uuid.uuid4())
        path = path_of("predict", *([] if self.endpoint_name is None else [self.endpoint_name]))
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        return Request("POST", path, headers=headers, content=arrays.to_json({**rows, **options}))


def retry(job_id: str, row: Any, inputs: Any, endpoint_name: str | None) -> Request:
    """Return the request to run a failed job again. Raises SettingsWrong or InputNotJson."""
    if not isinstance(row, Unset) and inputs is not None:
        raise SettingsWrong("Give at most one of an input and, with inputs=, a list of them.")
    body: dict[str, Any] = {} if isinstance(row, Unset) else {"input": row}
    if inputs is not None:
        body["inputs"] = _listed(inputs)
    if endpoint_name is not None:
        body["endpoint_name"] = endpoint_name
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
    return Request("POST", path_of("jobs", job_id, "retry"), headers=headers, content=arrays.to_json(body))


def submit(request: Request, ends_at: float) -> Flow[Document]:
    """Submit a job; return it as `GET /jobs/<id>` would, as far as the answer says."""
    answer = yield from answered(request, ends_at)
    return _job(answer.status, document_of(answer))


def predict(request: Request, timeout_s: float) -> Flow[Document]:
    """Submit a job and wait until it has succeeded; return it.

    Raises:
        JobUnsuccessful: it has ended otherwise.
        WaitTimedOut: it has not ended in `timeout_s`.
    """
    ends_at = time.monotonic() + timeout_s
    wait_s = int(min(timeout_s, POLL_S))
    if wait_s:
        request = replace(request, headers={**request.headers, "Prefer": f"wait={wait_s}"}, wait_s=wait_s)
    try:
        job = yield from submit(request, ends_at)
    except RequestRefused as error:
        if error.code not in _ENDED_BADLY or error.job_id is None:
            raise
        raise unsuccessful({**error.problem, "status": error.problem.get("job_status")}) from error
    if job["status"] in UNFINISHED:
        job = yield from ended(job["job_id"], ends_at)
    if job["status"] != "succeeded":
        raise unsuccessful(job)
    return job


def ended(job_id: str, ends_at: float) -> Flow[Document]:
    """Wait until a job has ended, however it does; return it.

    Raises:
        WaitTimedOut: it has not at `ends_at` (monotonic); it goes on.
    """
    pause_s = _FIRST_PAUSE_S
    while True:
        began = time.monotonic()
        wait_s = round(max(0.0, min(ends_at - began, POLL_S)), 3)
        request = Request("GET", path_of("jobs", job_id), query={"wait": wait_s}, wait_s=wait_s)
        job = yield from call(request, ends_at)
        if job["status"] not in UNFINISHED:
            return job
        now = time.monotonic()
        if now >= ends_at:
            raise WaitTimedOut(f"Job {job_id} is {job['status']} and goes on; it can be asked for later.", problem=job)
        if now - began < min(wait_s, _LONGEST_PAUSE_S):
            yield Pause(min(max(pause_s, _pause_of_wait_s(job)), ends_at - now))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _pause_of_wait_s(job: Mapping[str, Any]) -> float:
    wait_s = (job.get("queue") or {}).get("estimated_wait_s") or 0.0
    return min(_LONGEST_PAUSE_OF_WAIT_S, _SHARE_OF_WAIT * float(wait_s))


def signature(endpoint_name: str, ends_at: float) -> Flow[Document]:
    """Return the signature of an endpoint's input. Raises EndpointNotDeployed."""
    endpoint = yield from call(Request("GET", path_of("predict", endpoint_name)), ends_at)
    found: Document = endpoint["signature"]
    return found


def show(job_id: str, ends_at: float) -> Flow[Document]:
    """Return a job as it stands. Raises JobNotFound."""
    return call(Request("GET", path_of("jobs", job_id)), ends_at)


def cancel(job_id: str, ends_at: float, *, force: bool) -> Flow[Document]:
    """Take back a job; one that is cancelled already stays so. Raises Conflict or JobNotFound."""
    query = {"force": "true"} if force else {}
    try:
        return (yield from call(Request("DELETE", path_of("jobs", job_id), query=query), ends_at))
    except Conflict as error:
        # Perhaps by this call, whose first answer was lost.
        if error.problem.get("state") != "cancelled":
            raise
        return (yield from show(job_id, ends_at))


def cancel_queued(
    endpoint_name: str, older_than_s: float, ends_at: float, *, delayed: bool, dry_run: bool = False
) -> Flow[int]:
    """Cancel the queued jobs of an endpoint, or only count them; return how many."""
    began, cursor = time.monotonic(), 0
    count: int = 0
    while True:
        # What is submitted after the call has begun is not meant.
        older = older_than_s + time.monotonic() - began
        body = {"endpoint_name": endpoint_name, "older_than_s": older, "delayed": delayed, "dry_run": dry_run}
        content = arrays.to_json({**body, "cursor": cursor})
        headers = {"Content-Type": "application/json"}
        found = yield from call(Request("POST", "/jobs/cancel", headers=headers, content=content), ends_at)
        count += found["matched_count" if dry_run else "cancelled_count"]
        if found["cursor"] is None:
            return count
        cursor = found["cursor"]


def result_of(job: Mapping[str, Any], *, of_array: bool) -> Any:
    """Return the prediction(s) of a job that has succeeded."""
    outcome = job.get("outcome") or {}
    found = outcome["predictions"] if "predictions" in outcome else outcome.get("prediction")
    return arrays.like_input(found) if of_array else found


def _listed(inputs: Any) -> Any:
    return inputs if arrays.is_array(inputs) else list(inputs)


def _job(status: int, document: Document) -> Document:
    if status == 200:
        outcome = {name: value for name, value in document.items() if name != "job_id"}
        known = {"endpoint_name": outcome.get("endpoint_name"), "status": "succeeded"}
        return {"job_id": document["job_id"], **known, "outcome": outcome, "error": None}
    return {"outcome": None, "error": None, **document}
