"""Places and estimates through a whole service, at a pace that is known."""

from __future__ import annotations

from datetime import datetime

from tests.support.calls import Document, expect
from tests.support.models import Paced
from tests.support.stack import Stack
from tests.support.waiting import eventually

#: Every estimate may be off by this factor, either way: the machine may do other things meanwhile.
FACTOR = 3.0
SECONDS = 0.15


def waited_s(job: Document) -> float:
    submitted, started = (datetime.fromisoformat(job[at]) for at in ("submitted_at", "started_at"))
    return (started - submitted).total_seconds()


def test_jobs_wait_about_as_long_as_they_were_told_and_their_places_count_down(service: Stack, name: str) -> None:
    service.register(name, Paced(SECONDS, 0.0), runtime_options={"vectorized": True})
    service.deploy(name, endpoint_name=name, max_batch_size=1)
    accepted = [expect(202, service.api.post(f"/predict/{name}", json={"input": "x"})) for _ in range(10)]
    last = accepted[-1]
    assert 6 <= last["queue"]["position"] <= 9
    positions: list[int] = []

    def begun() -> bool:
        answer = service.api.get(last["url"])
        queue: Document | None = answer.json()["queue"]
        if queue is not None:
            positions.append(queue["position"])
            assert int(answer.headers["Retry-After"]) >= queue["estimated_wait_s"]
        return queue is None

    eventually(begun, message="the last job has begun")
    assert positions == sorted(positions, reverse=True)
    assert len(set(positions)) >= 4
    jobs = service.ended([each["job_id"] for each in accepted])
    for told, job in zip(accepted[3:], jobs[3:], strict=True):
        estimated_s = told["queue"]["estimated_wait_s"]
        assert estimated_s / FACTOR <= waited_s(job) <= estimated_s * FACTOR


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
