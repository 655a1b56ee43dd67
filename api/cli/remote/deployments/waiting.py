"""Waits for jobs and deployments, with progress and a limit."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from api.cli.client import Client, Document, path_of
from api.cli.errors import DeploymentFailed, JobUnsuccessful, RequestRefused, TimedOut
from api.cli.output import Output, queue_position

#: A poll ends with the job; one that is held answers at least this often, to show how it goes.
_POLL_S = 5.0
#: The first answer comes sooner, to say how many are ahead.
_FIRST_POLL_S = 0.5
#: As many as one look-up takes.
_JOBS_A_LOOK = 1_000
_LOOK_INTERVAL_S = 0.2
_UNFINISHED = ("queued", "running")
#: The workers have a deployment as it is wanted; an asleep one has been loaded, and its next job loads it again.
_SETTLED = ("active", "asleep", "loading", "parked")


def job_end(client: Client, output: Output, job_id: str, timeout_s: float) -> Document:
    """Wait until a job succeeds; return it.

    Raises:
        JobUnsuccessful: it failed, was cancelled or expired.
        TimedOut: it has not ended in `timeout_s`.
    """
    with output.progress(f"job {job_id}: queued") as show:
        ends_at = time.monotonic() + timeout_s
        return succeeded(end_of(client, job_id, ends_at, lambda job: show(_progress(job))))


def _progress(job: Document) -> str:
    where = queue_position(job)
    return f"job {job['job_id']}: {job['status']}" + (f", {where}" if where else "")


def end_of(
    client: Client, job_id: str, ends_at: float, show: Callable[[Document], None], look_interval_s: float = _POLL_S
) -> Document:
    """Wait until a job ends, however it does, and show it meanwhile; return it.

    Raises:
        TimedOut: it has not ended at `ends_at` (monotonic).
    """
    began, poll_s = time.monotonic(), _FIRST_POLL_S
    job: Document = {"job_id": job_id, "status": "queued"}
    while job["status"] in _UNFINISHED:
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            raise TimedOut(
                f"Job {job_id} is {job['status']} after {time.monotonic() - began:.1f} s and goes on; "
                f"look with: queuecast jobs show {job_id}",
                {"job": job},
            )
        try:
            job = client.get(path_of("jobs", job_id), wait=round(min(left_s, poll_s), 3))
        except RequestRefused as error:
            pause_s = float(error.document.get("retry_after_s") or 1)
            if error.status != 429 or pause_s >= left_s:
                raise
            time.sleep(pause_s)  # the rate of the API key
        else:
            show(job)
            poll_s = look_interval_s
    return job


def ends_of(client: Client, job_ids: Sequence[str], ends_at: float) -> Iterator[Document]:
    """Yield jobs in order once each has ended, however it does, many of them with each request.

    Raises:
        TimedOut: one has not ended at `ends_at` (monotonic).
    """
    left = deque(job_ids)
    while left:
        some = [left[number] for number in range(min(len(left), _JOBS_A_LOOK))]
        found = {job["job_id"]: job for job in _looked_up(client, some, ends_at)}
        before = len(left)
        while left and left[0] in found and found[left[0]]["status"] not in _UNFINISHED:
            yield found[left.popleft()]
        if len(left) == before:
            # It alone: others may have ended, and it says if there is no such job.
            yield end_of(client, left.popleft(), ends_at, lambda _job: None)


def _looked_up(client: Client, job_ids: list[str], ends_at: float) -> list[Document]:
    wait_s = round(max(0.0, min(ends_at - time.monotonic(), _POLL_S)), 3)
    try:
        found: list[Document] = client.post("/jobs/lookup", {"job_ids": job_ids}, wait=wait_s)["jobs"]
    except RequestRefused as error:
        pause_s = float(error.document.get("retry_after_s") or 1)
        if error.status != 429 or time.monotonic() + pause_s >= ends_at:
            raise
        time.sleep(pause_s)  # the rate of the API key
        return []
    return found


def succeeded(job: Document) -> Document:
    """Return the job if it has succeeded or can still.

    Raises:
        JobUnsuccessful: it ended otherwise.
    """
    if job["status"] in ("succeeded", *_UNFINISHED):
        return job
    error = job.get("error") or {}
    why = f": {error.get('message')}" if error.get("message") else "."
    raise JobUnsuccessful(
        f"Job {job['job_id']} is {job['status']}{why}", {"code": error.get("code") or "job_unsuccessful", "job": job}
    )


def active(client: Client, output: Output, deployment: Document, timeout_s: float) -> Document:
    """Wait until a deployment is active; return its view.

    Raises:
        DeploymentFailed: the workers could not load it, or it was changed again before it was active.
        TimedOut: it is not active in `timeout_s`.
    """
    endpoint_name, revision = deployment["endpoint_name"], deployment.get("revision")

    def settled(view: Document) -> bool:
        if view.get("revision") != revision:
            why = f"was changed again before it was active; look with: queuecast history {endpoint_name}"
            raise DeploymentFailed(f"Endpoint {endpoint_name!r} {why}", {"deployment": view})
        if view["status"] == "failed" or view.get("load_error"):
            raise DeploymentFailed(f"Endpoint {endpoint_name!r} failed: {view.get('reason')}", {"deployment": view})
        return view["status"] in _SETTLED

    return _watch(client, output, deployment, timeout_s, settled)


def taken_down(client: Client, output: Output, deployment: Document, timeout_s: float) -> None:
    """Wait until nothing of an undeployed endpoint runs any more.

    Raises:
        DeploymentFailed: its queued jobs can't be finished, because no worker can load it.
        TimedOut: something still does after `timeout_s`.
    """
    endpoint_name = deployment["endpoint_name"]

    def down(view: Document) -> bool:
        if view["status"] == "draining" and view.get("load_error"):
            why = f"Endpoint {endpoint_name!r} can't be drained. {view.get('reason')}"
            ways = f" Run: queuecast undeploy {endpoint_name} --backlog reject (or park)."
            raise DeploymentFailed(why + ways, {"deployment": view})
        return view["status"] in ("undeployed", "parked")

    try:
        _watch(client, output, deployment, timeout_s, down)
    except RequestRefused as error:
        if error.status != 404:  # gone is what was asked for
            raise


def _watch(
    client: Client, output: Output, view: Document, timeout_s: float, done: Callable[[Document], bool]
) -> Document:
    endpoint_name, ends_at = view["endpoint_name"], time.monotonic() + timeout_s
    with output.progress(_phrase(view)) as show:
        while not done(view):
            if time.monotonic() >= ends_at:
                look = f"queuecast deployments {endpoint_name}"
                raise TimedOut(
                    f"After {timeout_s:g} s {_phrase(view)} It goes on; look with: {look}", {"deployment": view}
                )
            time.sleep(_LOOK_INTERVAL_S)
            view = client.get(path_of("deployments", endpoint_name))
            show(_phrase(view))
    return view


def _phrase(view: Document) -> str:
    return f"{view['endpoint_name']} is {view['status']}. {view.get('reason') or ''}".rstrip()
