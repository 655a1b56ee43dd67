"""Places and estimates through a whole service, at a pace that is known."""

from __future__ import annotations

import time
from datetime import datetime

import pytest

from tests.support.calls import Document, expect
from tests.support.models import Paced
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

#: Every estimate may be off by this factor, either way: the machine may do other things meanwhile.
FACTOR = 3.0
SECONDS = 0.15


def waited_s(job: Document) -> float:
    submitted, started = (datetime.fromisoformat(job[at]) for at in ("submitted_at", "started_at"))
    return (started - submitted).total_seconds()


def test_jobs_wait_about_as_long_as_they_were_told_and_their_places_count_down(service: Stack, name: str) -> None:
    service.register(name, Paced(SECONDS, 0.0), runtime_options={"vectorized": True})
    # An endpoint about which the API has just been asked, when it was not ready.
    service.deploy(name, endpoint_name=name, max_batch_size=1, wait_s=0)
    early = expect(202, service.api.post(f"/predict/{name}", json={"input": "x"}))
    service.wait_for_status(name, "active")
    service.ended([early["job_id"]])
    eventually(lambda: _is_told(service, name), message="a submit says how long its job will wait")
    eventually(lambda: _about_as_long_as_told(service, name), 60, message="estimates that are about right")


def _is_told(service: Stack, name: str) -> bool:
    """Whether a job is accepted with an estimate: for half a second the API may go by what it has read before."""
    accepted = expect(202, service.api.post(f"/predict/{name}", json={"input": "x"}))
    service.ended([accepted["job_id"]])
    queue: Document = accepted["queue"]
    return queue["estimated_wait_s"] is not None


def _about_as_long_as_told(service: Stack, name: str) -> bool:
    """Whether ten jobs do so: on a machine that does other things meanwhile ten others may."""
    began = time.monotonic()
    accepted = [expect(202, service.api.post(f"/predict/{name}", json={"input": "x"})) for _ in range(10)]
    ended_at_most = (time.monotonic() - began) / SECONDS + 1
    last = accepted[-1]
    positions = _positions(service, last)
    jobs = service.ended([each["job_id"] for each in accepted])
    # These hold however busy the machine is.
    if not 9 - ended_at_most <= last["queue"]["position"] <= 9:
        pytest.fail(f"{last}, {ended_at_most} others may have ended")
    if positions != sorted(positions, reverse=True):
        pytest.fail(f"positions did not count down: {positions}")
    told_s = [each["queue"]["estimated_wait_s"] for each in accepted]
    if None in told_s:
        pytest.fail(f"the endpoint is ready, and nothing was said of its waits: {accepted}")
    pairs = list(zip(told_s, map(waited_s, jobs), strict=True))[3:]
    return len(set(positions)) >= 4 and all(told / FACTOR <= waited <= told * FACTOR for told, waited in pairs)


def _positions(service: Stack, job: Document) -> list[int]:
    """The places that a job has until it begins."""
    positions: list[int] = []

    def begun() -> bool:
        answer = service.api.get(job["url"])
        queue: Document | None = answer.json()["queue"]
        if queue is not None:
            positions.append(queue["position"])
            assert int(answer.headers["Retry-After"]) >= queue["estimated_wait_s"]
        return queue is None

    eventually(begun, message="the last job has begun")
    return positions


def test_a_burst_on_a_batching_endpoint_is_judged_by_full_batches_once_they_were_seen(
    service: Stack, name: str
) -> None:
    service.register(name, Paced(0.1, 0.005), runtime_options={"vectorized": True})
    service.deploy(name, endpoint_name=name, max_batch_size=16)
    rows = [{"input": "x"}] * 64
    service.ended(expect(202, service.api.post(f"/predict/{name}/bulk", json=rows))["job_ids"])

    def known() -> bool:
        # The pace is reported at once when it has become another one.
        told = expect(202, service.api.post(f"/predict/{name}/bulk", json=rows))
        [*_, last] = service.ended(told["job_ids"])
        estimated_s = told["queue"]["estimated_wait_s"]
        return estimated_s is not None and bool(estimated_s / FACTOR <= waited_s(last) <= estimated_s * FACTOR)

    eventually(known, message="an estimate that is about right")
