"""An upgrade: the release of before and this one side by side on the same queues, registry and artifacts.

"The release of before" is the commit before this one; UPGRADE_FROM names another (`UPGRADE_FROM=v1.2.0 pytest …`).
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.audit import leftovers
from tests.support.calls import Calls, expect, predictions
from tests.support.loads.load import Load
from tests.support.models import Appending, Echo, Gate, Labels, Recorder
from tests.support.servers import webhook_receiver
from tests.support.servers.webhook_receiver import WebhookReceiver
from tests.support.service.environment import REPOSITORY
from tests.support.service.ports import free_port
from tests.support.service.processes import Child
from tests.support.service.stack import START_TIMEOUT_S, Stack, Worker, assert_running
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

MIGRATIONS = "registry/migrations/versions"
#: What processes write that run the old tree's code.
OLD_CODE = "this is the release of before"
#: Until when delayed jobs wait.
DELAY_S = 6


def git(*arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", REPOSITORY, *arguments], capture_output=True, check=False)
    if done.returncode:
        raise LookupError(done.stderr.decode(errors="replace").strip())
    return done.stdout


@pytest.fixture(scope="module")
def old_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the release of before."""
    ref = os.environ.get("UPGRADE_FROM", "HEAD~1")
    try:
        packed = git("archive", "--format=tar", ref)
    except (LookupError, OSError) as error:
        pytest.skip(f"{ref} can't be had here (a shallow clone? git fetch --unshallow): {error}")
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    with (folder / "workers/__init__.py").open("a", encoding="utf-8") as module:
        module.write(f"\nprint({OLD_CODE!r}, flush=True)\n")
    return folder


class SideBySide(Stack):
    """A service of this release, to which workers and an API of the one before are added."""

    def __init__(self, folder: Path, old_tree: Path) -> None:
        # Often, because a release of before may sweep in turn, and may know less that has to be tidied up.
        super().__init__(folder, env={**webhook_receiver.environment(), "QUEUECAST_SWEEP_INTERVAL_S": "1"})
        self.old_tree = old_tree
        self.old_env = {**self.env, "PYTHONPATH": str(old_tree)}

    def migrate_as_before(self) -> None:
        """Make the tables of the release of before, if this one has others: it then migrates them when it starts."""
        folders = [tree / MIGRATIONS for tree in (self.old_tree, REPOSITORY)]
        before, now = ({path.name for path in folder.glob("r*.py")} for folder in folders)
        if before != now:
            command = ["python", "-m", "registry.migrate"]
            with Child(command, env=self.old_env, log_path=self.logs / "old-migrate.log", cwd=self.old_tree) as old:
                assert old.wait() == 0, old.log()

    def start_both_workers(self) -> None:
        """Start a worker of each release, the old one first."""
        worker = Worker("old", env=self.old_env, log_path=self.logs / "old.log", cwd=self.old_tree)
        self.workers.append(worker)
        self._closing.callback(worker.stop)
        self.start_worker("new")
        assert OLD_CODE in worker.wait_until_ready().log()
        assert OLD_CODE not in self.workers[1].log()

    def program_submits(self, old: bool, endpoint_name: str, row: str) -> str:
        """Have a program with `workers.tasks`, of the release of before or of this one, submit a job for later."""
        code = (
            "from workers.tasks import predict; "
            f"print(predict.apply_async(({endpoint_name!r}, {row!r}), countdown={DELAY_S}).id)"
        )
        env, cwd = (self.old_env, self.old_tree) if old else (self.env, REPOSITORY)
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, cwd=cwd, capture_output=True, text=True, timeout=60, check=True
        )
        assert (OLD_CODE in done.stdout) == old
        return done.stdout.split()[-1]

    @contextmanager
    def old_api(self) -> Iterator[Calls]:
        """Run the API of the release of before."""
        port, calls = free_port(), Calls()
        env = {**self.old_env, "QUEUECAST_PORT": str(port)}
        with (
            Child(["python", "-m", "api.serve"], env=env, log_path=self.logs / "old-web.log", cwd=self.old_tree) as old,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=75) as calls.api,
        ):

            def ready() -> bool:
                assert_running(old)
                try:
                    return calls.api.get("/health/ready").status_code == 200
                except httpx.TransportError:
                    return False

            eventually(ready, START_TIMEOUT_S, message="the old API is ready")
            assert OLD_CODE in old.log()
            yield calls


@pytest.fixture(scope="module")
def both(old_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SideBySide]:
    """A service with a worker of each release; `test_the_old_worker_is_stopped…` ends the old one."""
    service = SideBySide(tmp_path_factory.mktemp("upgrade") / "stack", old_tree)
    service.migrate_as_before()
    with service:
        service.start_both_workers()
        for mark in "12":
            service.register("echo", Echo(mark, seconds=0.004))
        service.register("gate", Gate("g"))
        yield service


@pytest.fixture(scope="module")
def old(both: SideBySide) -> Iterator[Calls]:
    """The calls of the API of before."""
    with both.old_api() as calls:
        yield calls


def test_jobs_of_either_api_are_done_once_by_either_worker_through_a_swap(both: SideBySide, old: Calls) -> None:
    both.deploy("echo", version="1", endpoint_name="shared", max_batch_size=4)
    workers = {each.node_name for each in both.workers}
    for api in (both, old):
        eventually(lambda api=api: api.serving("shared") == workers, message="both workers serve")  # type: ignore[misc]
        assert api.view("shared")["status"] == "active"
    with Load(both.url, "shared", 0) as load, Load(str(old.api.base_url), "shared", 0) as old_load:
        load.wait_for(60)
        old_load.wait_for(60)
        old.deploy("echo", version="2", endpoint_name="shared")
        load.wait_for(60)
        both.undeploy("shared", "park")
        old.deploy("echo", version="1", endpoint_name="shared")
        load.wait_for(30)
        old_load.wait_for(30)
    for each in (load, old_load):
        outcomes = both.outcomes(job.job_id for job in each.accepted)
        assert {outcome["worker"] for outcome in outcomes} == workers
        assert {outcome["version"] for outcome in outcomes} == {"1", "2"}
        assert predictions(outcomes) == [
            [outcome["version"], job.row] for outcome, job in zip(outcomes, each.accepted, strict=True)
        ]
        assert {outcome["attempts"] for outcome in outcomes} == {1}
        # Only while it was parked, which the one or the other may not have met.
        assert {answer.json()["code"] for answer in each.refused} <= {"endpoint_not_deployed"}
    # What a release shows of a job, the next one shows too, and perhaps more.
    job_id = load.accepted[0].job_id
    assert old.job(job_id).items() <= both.job(job_id).items()
    eventually(lambda: leftovers(both, "shared") == {}, message="nothing is left")


def test_long_inputs_of_either_api_are_read_by_either_worker(both: SideBySide, old: Calls) -> None:
    both.deploy("echo", version="1", endpoint_name="long", max_batch_size=1)
    workers = {each.node_name for each in both.workers}
    eventually(lambda: both.serving("long") == workers, message="both workers serve")
    rows = ["x" * 20_000, 'é"' * 5_000]

    def done_by_both() -> bool:
        for api in (both, old):
            ids = [api.submit("long", row) for row in rows for _ in range(4)]
            outcomes = both.outcomes(ids)
            assert predictions(outcomes) == [["1", row] for row in rows for _ in range(4)]
            by[api].update(outcome["worker"] for outcome in outcomes)
        return all(each == workers for each in by.values())

    by: dict[Calls, set[str]] = {both: set(), old: set()}
    eventually(done_by_both, 60)
    both.undeploy("long")


def test_either_api_cancels_jobs_of_either_worker(both: SideBySide, old: Calls, tmp_path: Path) -> None:
    both.deploy("gate", endpoint_name="held", max_batch_size=1, max_queue_length=6)
    workers = {each.node_name for each in both.workers}
    eventually(lambda: both.serving("held") == workers, message="both workers serve")
    held = both.submit_all("held", [str(tmp_path / "never")] * 6)
    running: list[str] = eventually(lambda: _on_both(both, held), message="each worker runs one") or []
    for each in (both, old):
        full = each.api.post("/predict/held", json={"input": "one too many"})
        assert (full.status_code, "Retry-After" in full.headers) == (429, True), full.text
    [queued, *_] = [job_id for job_id in held if job_id not in running]
    assert expect(200, old.api.delete(f"/jobs/{queued}"))["status"] == "cancelled"
    for job_id in held:
        if job_id != queued:
            eventually(lambda job_id=job_id: _forced(both, job_id), message="it is cancelled")  # type: ignore[misc]
    assert {document["status"] for document in old.ended(held)} == {"cancelled"}
    assert both.predict("held", "a row")["prediction"] == ["g", "a row"]
    both.undeploy("held", "reject", wait_s=0)


def test_pipelines_go_on_whichever_worker_ends_their_steps(both: SideBySide, old: Calls) -> None:
    both.register("appending", Appending("a", seconds=0.02))
    # By the old API, which notes for programs no name of an endpoint.
    old.deploy("appending", endpoint_name="appending", max_batch_size=1)
    workers = {each.node_name for each in both.workers}
    eventually(lambda: both.serving("appending") == workers, message="both workers serve")
    body = {"steps": [{"endpoint_name": "appending", "input": ""}, *[{"endpoint_name": "appending"}] * 2]}
    ids = [expect(202, both.api.post("/pipelines", json=body))["job_id"] for _ in range(12)]
    assert predictions(both.outcomes(ids)) == ["aaa"] * len(ids)
    steps = [step for job_id in ids for step in both.job(job_id)["steps"]]
    assert {step["outcome"]["worker"] for step in steps} == workers
    # The API of before shows a pipeline as a job.
    assert old.job(ids[0])["outcome"]["prediction"] == "aaa"
    assert old.view("appending")["succeeded_count"] == 3 * len(ids)
    both.undeploy("appending")


def test_programs_of_either_release_catch_why_a_job_failed_whichever_worker_ran_it(both: SideBySide) -> None:
    both.register("refusing", Labels(raises=(3,), seconds=0.02), input_example=1)
    both.deploy("refusing", endpoint_name="refusing", max_batch_size=1)
    workers = {each.node_name for each in both.workers}
    eventually(lambda: both.serving("refusing") == workers, message="both workers serve")
    code = """
from workers.errors import JobFailed, PredictionFailed
from workers.tasks import predict
for result in predict.bulk("refusing", [3] * 20):
    try:
        result.get(timeout=60)
    except JobFailed as failed:
        print("caught", type(failed) is PredictionFailed)
"""
    for env, cwd in ((both.old_env, both.old_tree), (both.env, REPOSITORY)):
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, cwd=cwd, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.stdout.count("caught True") == 20, done.stdout + done.stderr
    both.undeploy("refusing")


def test_delayed_jobs_of_either_release_run_once_and_not_before_their_time(both: SideBySide, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    both.register("noting", Recorder(ran))
    both.deploy("noting", endpoint_name="noting")
    workers = {each.node_name for each in both.workers}
    eventually(lambda: both.serving("noting") == workers, message="both workers serve")
    jobs = [both.program_submits(old, "noting", f"{'old' if old else 'new'}-{number}") for number in range(2)
            for old in (False, True)]  # fmt: skip
    sent_at = time.time()
    jobs.append(both.celery.send_task("predict", args=["noting", "bare"], queue="predict.noting", countdown=DELAY_S).id)
    # An earlier release may hold the bare one without a record until its time.
    both.wait_until_known(jobs[-1:], 30)
    documents = both.ended(jobs)
    assert {each["status"] for each in documents} == {"succeeded"}
    started_at = datetime.fromisoformat(documents[-1]["started_at"]).timestamp()
    assert started_at >= sent_at + DELAY_S - 0.001
    assert sorted(ran.read_text().split()) == ["bare", "new-0", "new-1", "old-0", "old-1"]
    eventually(lambda: leftovers(both, "noting", jobs) == {}, message="nothing is left")


def test_a_change_by_the_old_api_is_in_the_history_and_can_be_taken_back(both: SideBySide, old: Calls) -> None:
    both.deploy("echo", version="1", endpoint_name="changed")
    old.deploy("echo", version="2", endpoint_name="changed", hosts=2)
    newest, first = expect(200, both.api.get("/deployments/changed/history"))["changes"]
    assert newest["action"] in ("unrecorded", "swap"), "a release without a history writes no row"
    assert (newest["changes"], first["action"]) == (
        {"version": {"from": "1", "to": "2"}, "hosts": {"from": 1, "to": 2}}, "deploy"
    )  # fmt: skip
    back = both.api.post("/deployments/changed/rollback", json={}, headers={"Prefer": "wait=60"})
    assert expect(200, back)["version"] == "1"
    old.undeploy("changed")
    assert both.deploy("echo", endpoint_name="changed")["version"] == "1"
    both.undeploy("changed")


def test_the_ends_of_jobs_are_told_whichever_worker_does_them(both: SideBySide) -> None:
    both.deploy("echo", version="1", endpoint_name="telling", max_batch_size=1)
    workers = {each.node_name for each in both.workers}
    eventually(lambda: both.serving("telling") == workers, message="both workers serve")
    with WebhookReceiver() as receiver:
        background, ids = both.start_background(), list[str]()

        def done_by_both() -> bool:
            answer = both.api.post("/predict/telling", json={"input": "a", "callback_url": receiver.url})
            ids.append(expect(202, answer)["job_id"])
            return len(ids) >= 20 and {each["worker"] for each in both.outcomes(ids)} == workers

        eventually(done_by_both)
        eventually(lambda: set(receiver.jobs) == set(ids), message="all ends are told")
        assert background.terminate() == 0


def _on_both(service: Stack, job_ids: list[str]) -> list[str]:
    running = [job_id for job_id in job_ids if service.job(job_id, wait_s=0)["status"] == "running"]
    return running if len(running) == 2 else []


def _forced(service: Stack, job_id: str) -> bool:
    answer: dict[str, Any] = service.api.delete(f"/jobs/{job_id}", params={"force": "true"}).json()
    return answer.get("status") == "cancelled"


def test_the_old_worker_is_stopped_while_jobs_flow_and_nothing_is_lost(both: SideBySide) -> None:
    both.deploy("echo", version="1", endpoint_name="last", max_batch_size=4)
    [worker] = [each for each in both.workers if each.name == "old"]
    eventually(lambda: worker.node_name in both.serving("last"), message="the old worker serves")
    with Load(both.url, "last", 0) as load:
        load.wait_for(100)
        assert worker.terminate() == 0
        late = load.count
        load.wait_for(30)
    assert load.refused == []
    outcomes = both.outcomes(job.job_id for job in load.accepted)
    assert predictions(outcomes) == [["1", job.row] for job in load.accepted]
    assert {outcome["attempts"] for outcome in outcomes} == {1}
    assert worker.node_name in {outcome["worker"] for outcome in outcomes[:late]}
    assert {outcome["worker"] for outcome in outcomes[late + 10 :]} == {both.workers[1].node_name}
    assert [each["worker"] for each in both.view("last")["workers"]] == [both.workers[1].node_name]
    eventually(lambda: leftovers(both, "last") == {}, message="nothing is left")
