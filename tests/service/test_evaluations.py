"""Evaluations: candidates with planted changes, and the faults that an evaluation outlives."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from api.client import AsyncClient, Client, Conflict, Evaluation
from tests.service.conftest import StartWorker
from tests.support.calls import Document, expect
from tests.support.models import Labels, Unloadable
from tests.support.service.processes import Child
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

JOBS = 120


@pytest.fixture(scope="module")
def background(service: Stack) -> Iterator[Child]:
    """The background process of this module's tests; it moves the journal at once."""
    child = service.start_background({"QUEUECAST_JOURNAL_INTERVAL_S": "0.2"})
    yield child
    if child.running:
        child.stop()


@pytest.fixture(scope="module")
def deployed(service: Stack, background: Child) -> str:
    """An endpoint with a journal of `JOBS` jobs, which the first version answered."""
    assert background.running
    return with_journal(service, "labels", Labels())


def with_journal(service: Stack, name: str, model: object, **settings: Any) -> str:
    service.register(name, model, input_example=1)
    service.deploy(name, endpoint_name=name, journal=1.0, **settings)
    lines = "".join(json.dumps({"input": number}) + "\n" for number in range(JOBS))
    headers = {"Content-Type": "application/x-ndjson"}
    answer = expect(202, service.api.post(f"/predict/{name}/bulk", content=lines, headers=headers))
    service.outcomes(answer["job_ids"])
    return name


def evaluate(service: Stack, endpoint: str, version: str, **wanted: object) -> str:
    body = {"endpoint_name": endpoint, "version": version, **wanted}
    return str(expect(201, service.api.post("/evaluations", json=body))["evaluation_id"])


def shown(service: Stack, evaluation_id: str) -> Document:
    return expect(200, service.api.get(f"/evaluations/{evaluation_id}"))


def ended(service: Stack, evaluation_id: str, timeout_s: float = 60.0) -> Document:
    """Wait for the end of an evaluation; return it."""

    def found() -> Document | None:
        view = shown(service, evaluation_id)
        assert view["state"] in ("succeeded", "failed", "cancelled"), view
        return view

    return eventually(found, timeout_s, message=f"{evaluation_id} has ended") or {}


def keys_of(service: Stack, evaluation_id: str) -> list[bytes]:
    with redis.Redis.from_url(service.redis.url) as client:
        members = [each for each in client.smembers("queuecast:endpoints") if evaluation_id.encode() in each]
        return [*client.scan_iter(f"*replay@{evaluation_id}*", count=10_000), *members]


def wait_until_cleared(service: Stack, evaluation_id: str) -> None:
    def cleared() -> bool:
        left = keys_of(service, evaluation_id)
        assert not left
        return True

    eventually(cleared, 30)


def test_a_candidate_that_flips_labels_differs_by_their_share(service: Stack, deployed: str) -> None:
    service.register(deployed, Labels(flips=range(0, JOBS, 10)), input_example=1, version="flips")
    before = service.view(deployed)
    evaluation_id = evaluate(service, deployed, "flips", control=0.5)
    view = ended(service, evaluation_id)
    assert (view["state"], view["verdict"]) == ("succeeded", "differs"), view
    assert (view["progress"]["jobs"], view["progress"]["replayed"]) == (JOBS, JOBS)
    assert view["progress"]["errors"] == {"candidate": 0, "stable": 0}
    assert 0 < view["progress"]["control"] < JOBS
    assert view["report"]["agreement"]["estimate"] == pytest.approx(0.9)
    wait_until_cleared(service, evaluation_id)
    after = service.view(deployed)
    assert {name: after[name] for name in ("succeeded_count", "failed_count")} == {
        name: before[name] for name in ("succeeded_count", "failed_count")
    }


def test_the_command_shows_the_verdict_and_ends_with_its_exit_code(
    service: Stack, deployed: str, tmp_path: Path
) -> None:
    service.register(deployed, Labels(), input_example=1, version="right")
    service.register(deployed, Labels(flips=range(JOBS)), input_example=1, version="wrong")
    table = tmp_path / "rows.csv"
    table.write_text("number,truth\n" + "".join(f"{each},{('even', 'odd')[each % 2]}\n" for each in range(60)))
    same = service.queuecast("evaluate", deployed, "--version", "right", "--margin", "0.1", "--control", "0")
    assert "verdict" in same.stdout
    worse = service.queuecast("evaluate", deployed, "--version", "wrong", "--dataset", str(table), check=False)
    assert worse.returncode == 6, worse.stdout + worse.stderr
    refused = service.queuecast("evaluate", deployed, "--version", "1", check=False)
    assert (refused.returncode, "serves version 1 already" in refused.stderr) == (1, True)
    listed = service.queuecast("evaluations", "list", "--endpoint", deployed)
    assert "worse" in listed.stdout


def test_both_clients_evaluate_and_show_progress(service: Stack, deployed: str) -> None:
    service.register(deployed, Labels(), input_example=1, version="again")
    seen: list[str] = []
    rows = [{"input": number, "truth": ("even", "odd")[number % 2]} for number in range(50)]

    async def evaluated() -> Evaluation:
        async with AsyncClient(service.url) as client:
            found = await client.evaluate(
                deployed, "again", dataset=rows, on_progress=lambda each: seen.append(each.state)
            )
            assert found.evaluation_id in {each.evaluation_id for each in await client.evaluations(deployed)}
            return found

    found = asyncio.run(evaluated())
    assert (found.state, found.progress["replayed"], seen[-1]) == ("succeeded", 50, "succeeded")
    with Client(service.url) as client:
        with pytest.raises(Conflict, match="serves version 1 already"):
            client.evaluate(deployed, "1")
        assert client.evaluation(found.evaluation_id).verdict == found.verdict


def test_an_equal_candidate_agrees_in_all_rows_of_a_dataset(service: Stack, deployed: str) -> None:
    service.register(deployed, Labels(), input_example=1, version="equal")
    dataset = [{"inputs": [number, number + 1]} for number in range(40)] + [{"input": 7, "truth": "odd"}]
    view = ended(service, evaluate(service, deployed, "equal", dataset=dataset))
    assert view["state"] == "succeeded", view
    assert (view["progress"]["replayed"], view["report"]["agreement"]["estimate"]) == (41, 1.0)


def test_errors_and_lost_hosts_of_a_candidate_are_in_the_report(service: Stack, deployed: str) -> None:
    raising, killing = range(0, JOBS, 40), [5]
    service.register(deployed, Labels(raises=raising, kills=killing), input_example=1, version="broken")
    evaluation_id = evaluate(service, deployed, "broken", control=0)
    view = ended(service, evaluation_id, 90)
    assert (view["state"], view["progress"]["replayed"]) == ("succeeded", JOBS), view
    assert view["progress"]["errors"] == {"candidate": len(raising) + len(killing), "stable": 0}
    wait_until_cleared(service, evaluation_id)
    letters = expect(200, service.api.get("/dead-letters"))["dead_letters"]
    assert not [each for each in letters if "@" in each["endpoint_name"]]


def test_a_candidate_that_no_worker_can_load_fails_the_evaluation_with_the_reason(
    service: Stack, deployed: str
) -> None:
    service.register(deployed, Unloadable(), version="unloadable")
    evaluation_id = evaluate(service, deployed, "unloadable")
    view = ended(service, evaluation_id)
    assert view["state"] == "failed"
    assert "the weights are missing" in view["error"]
    wait_until_cleared(service, evaluation_id)


@pytest.mark.long
def test_a_running_evaluation_shows_in_no_list_and_leaves_nothing_once_it_is_cancelled(
    service: Stack, deployed: str
) -> None:
    service.register(deployed, Labels(seconds=0.3), input_example=1, version="slow")
    evaluation_id = evaluate(service, deployed, "slow")

    def replaying() -> bool:
        view = shown(service, evaluation_id)
        assert view["state"] == "replaying", view
        return True

    eventually(replaying, 30)
    deployments = expect(200, service.api.get("/deployments"))["deployments"]
    listed = {each["endpoint_name"] for each in deployments}
    listed |= {each["endpoint_name"] for each in expect(200, service.api.get("/jobs"))["jobs"]}
    assert not [name for name in listed if "@" in name]
    assert "replay@" not in service.api.get("/metrics").text
    refused = service.api.delete(f"/models/{deployed}/versions/slow")
    assert expect(409, refused)["code"] == "version_evaluated"
    assert expect(200, service.api.delete(f"/evaluations/{evaluation_id}"))["state"] == "cancelled"
    wait_until_cleared(service, evaluation_id)

    def deleted() -> bool:
        return service.api.delete(f"/evaluations/{evaluation_id}").status_code == 204

    eventually(deleted, 15)
    assert service.api.get(f"/evaluations/{evaluation_id}").status_code == 404


def test_hosts_of_replays_have_a_low_priority(service: Stack, deployed: str) -> None:
    service.register(deployed, Labels(seconds=0.2), input_example=1, version="polite")
    evaluation_id = evaluate(service, deployed, "polite")

    def nice_values() -> bool:
        reports = [json.loads(each) for each in service_reports(service)]
        served = [item for report in reports for item in report["endpoints"].items()]
        replays = [each["versions"] for endpoint, each in served if evaluation_id in endpoint]
        pids = [pid for versions in replays for version in versions for pid in version["pids"]]
        assert pids
        return {os.getpriority(os.PRIO_PROCESS, pid) for pid in pids} == {10}

    eventually(nice_values, 30)
    service.api.delete(f"/evaluations/{evaluation_id}")


def service_reports(service: Stack) -> list[bytes]:
    with redis.Redis.from_url(service.redis.url) as client:
        return list(client.hvals("queuecast:reports"))


@pytest.mark.parametrize("version", ["1", "nothing"])
def test_the_present_version_or_none_is_no_candidate(service: Stack, deployed: str, version: str) -> None:
    answer = service.api.post("/evaluations", json={"endpoint_name": deployed, "version": version})
    assert answer.json()["code"] == {"1": "evaluation_refused", "nothing": "version_not_found"}[version]


@pytest.mark.long
def test_each_job_counts_once_when_background_process_and_worker_are_killed(
    service: Stack, background: Child, group_worker: StartWorker, name: str, tmp_path: Path
) -> None:
    worker = group_worker("a")
    with_journal(service, name, Labels(), worker_group=name)
    service.register(name, Labels(flips=[3], seconds=0.02), input_example=1, version="next")
    # The only background process is the one that is killed.
    background.stop()
    doomed = service.start_background()
    evaluation_id = evaluate(service, name, "next", control=0.5)

    def partly() -> bool:
        return bool(shown(service, evaluation_id)["state"] == "replaying")

    eventually(partly, 30)
    doomed.kill()
    worker.kill()
    follower = service.start_background()
    try:
        group_worker("b")
        view = ended(service, evaluation_id, 120)
        assert (view["state"], view["progress"]["replayed"]) == ("succeeded", JOBS), view
        report = view["report"]
        assert (report["jobs"], report["agreement"]["estimate"]) == (JOBS, pytest.approx(1 - 1 / JOBS))
        wait_until_cleared(service, evaluation_id)
    finally:
        follower.stop()
