"""The whole main path as production has it: PostgreSQL, RabbitMQ, Redis and S3, and workers that share nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.rabbitmq import audit
from tests.rabbitmq.conftest import FAST
from tests.support.calls import expect, predictions
from tests.support.loads.load import Load
from tests.support.metrics import scrape
from tests.support.models import Echo, Gate, dumped
from tests.support.servers import rabbitmq
from tests.support.servers.postgres import PostgresCluster
from tests.support.servers.rabbitmq import RabbitNode
from tests.support.servers.s3 import BUCKET, S3Server
from tests.support.service.stack import Stack, Worker
from tests.support.waiting import eventually
from workers.queues.naming import queue_name

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.rabbitmq]
FIRST, SECOND = "first", "second"
PROGRAM = """
from workers.tasks import predict
print(predict.delay("{endpoint}", "from a program").get(timeout=30)["prediction"])
"""


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitNode]:
    with RabbitNode(rabbitmq.installed_script(), tmp_path_factory.mktemp("rabbitmq") / "node") as node:
        yield node


@pytest.fixture(scope="module")
def service(
    rabbit: RabbitNode, bucket: S3Server, postgres_cluster: PostgresCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    url = postgres_cluster.create_database()
    env = {
        **FAST,
        **bucket.env,
        "QUEUECAST_BROKER_URL": rabbit.url,
        "QUEUECAST_ARTIFACTS_URL": f"s3://{BUCKET}/main-path",
    }
    with Stack(tmp_path_factory.mktemp("service"), database_url=url, env=env) as running:
        for group in (FIRST, SECOND):
            start(running, group, wait=False)
        for worker in running.workers:
            worker.wait_until_ready()
        yield running


def start(service: Stack, group: str, name: str = "", *, wait: bool = True) -> Worker:
    """Start a worker that has a folder of its own, and no other's."""
    own = service.folder / (name or group)
    folders = {"QUEUECAST_DATA_DIR": str(own), "QUEUECAST_ARTIFACT_CACHE_DIR": str(own / "cache")}
    return service.start_worker(name or group, group, env=folders, wait=wait)


def place(version: dict[str, str]) -> str:
    """The object that holds a version's artifact."""
    return f"main-path/sha256/{version['artifact_sha256'][:2]}/{version['artifact_sha256']}"


def test_register_deploy_predict_swap_undeploy_and_delete(service: Stack, rabbit: RabbitNode, bucket: S3Server) -> None:
    versions = [service.register("echo", Echo(mark)) for mark in "12"]
    assert [bucket.read(place(version)) for version in versions] == [dumped(Echo(mark)) for mark in "12"]
    assert bucket.objects("main-path/incoming") == []
    workers = dict(zip((FIRST, SECOND), service.workers, strict=True))
    for group, worker in workers.items():
        service.deploy("echo", version="1", endpoint_name=group, worker_group=group)
        assert service.serving(group) == {worker.node_name}
        sha256 = versions[0]["artifact_sha256"]
        assert [path.name for path in (service.folder / group / "cache").iterdir()] == [sha256]
        assert not (service.folder / group / "registry.db").exists()

    jobs = {FIRST: service.submit_all(FIRST, "ab"), SECOND: service.submit_all(SECOND, "cd")}
    for group, rows in ((FIRST, "ab"), (SECOND, "cd")):
        outcomes = service.outcomes(jobs[group])
        assert predictions(outcomes) == [["1", row] for row in rows]
        assert {outcome["worker"] for outcome in outcomes} == {workers[group].node_name}
    assert service.predict(FIRST, "waited for")["prediction"] == ["1", "waited for"]
    bulk = expect(202, service.api.post(f"/predict/{SECOND}/bulk", json=[{"input": str(n)} for n in range(300)]))
    assert predictions(service.outcomes(bulk["job_ids"])) == [["1", str(n)] for n in range(300)]
    assert service.run("-c", PROGRAM.format(endpoint=FIRST)).stdout == "['1', 'from a program']\n"
    bare = service.celery.send_task("predict", args=[SECOND, "bare"], queue=queue_name(SECOND))
    assert bare.get(timeout=30)["prediction"] == ["1", "bare"]

    with Load(service.url, FIRST) as load:
        load.wait_for(20)
        service.deploy("echo", version="2", endpoint_name=FIRST)
        load.wait_for(20)
    assert load.refused == []
    outcomes = service.outcomes(accepted.job_id for accepted in load.accepted)
    assert [outcomes[0]["version"], outcomes[-1]["version"]] == ["1", "2"]

    with service.flower(workers[SECOND]) as url:
        service.predict(SECOND, "for Flower")
        eventually(lambda: httpx.get(f"{url}/api/tasks", timeout=10).json(), message="Flower has seen the job")
    found = scrape(service.url)
    assert found.by("group", "queuecast_workers") == {FIRST: 1, SECOND: 1}
    assert set(found.by("group", "queuecast_group_unfinished_jobs")) == {FIRST, SECOND}
    assert found.by("part", "queuecast_up") == {"redis": 1, "registry": 1}

    refused = service.api.delete("/models/echo/versions/1")
    assert refused.status_code == 409
    last = service.submit_all(SECOND, "xyz")
    service.undeploy(SECOND, "drain")
    assert predictions(service.outcomes(last)) == [["1", row] for row in "xyz"]
    assert service.api.delete("/models/echo/versions/1").status_code == 204
    assert service.predict(FIRST, "after")["prediction"] == ["2", "after"]
    assert audit.leftovers(service, rabbit, FIRST, load_ids(load)) == {}


def load_ids(load: Load) -> list[str]:
    return [accepted.job_id for accepted in load.accepted]


def test_nothing_is_lost_when_a_worker_is_killed(service: Stack, rabbit: RabbitNode, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    service.register("gate", Gate("m"))
    service.deploy("gate", endpoint_name="gate", worker_group=SECOND, max_batch_size=1)
    jobs = service.submit_all("gate", [str(gate)] * 5)
    service.wait_until_running(jobs[:1])
    unfinished = "queuecast_group_unfinished_jobs"
    assert scrape(service.url).value(unfinished, group=SECOND) == len(jobs)
    service.workers[1].kill()
    start(service, SECOND, "another")
    gate.touch()
    assert predictions(service.outcomes(jobs)) == [["m", str(gate)]] * len(jobs)
    eventually(lambda: audit.leftovers(service, rabbit, "gate", jobs) == {}, message="nothing is left")
    eventually(lambda: scrape(service.url).value(unfinished, group=SECOND) == 0, message="the number is 0 again")


def test_an_object_that_somebody_changed_is_never_loaded(service: Stack, bucket: S3Server) -> None:
    version = service.register("changed", Echo("good"))
    good = bucket.read(place(version))
    bucket.write(place(version), dumped(Echo("evil")))
    wanted = {"model_name": "changed", "endpoint_name": "changed", "worker_group": FIRST}
    answer = service.api.post("/deployments/deploy", json=wanted, headers={"Prefer": "wait=30"})
    assert expect(409, answer)["code"] == "deployment_failed"
    view = service.view("changed")
    assert (view["status"], version["artifact_sha256"] in view["reason"]) == ("failed", True), view
    assert "damaged" in view["reason"]
    bucket.write(place(version), good)
    service.wait_for_status("changed", "active")
    assert service.predict("changed", "x")["prediction"] == ["good", "x"]


def test_a_deploy_while_s3_is_away_says_so_and_is_made_good_when_it_is_back(service: Stack, bucket: S3Server) -> None:
    service.register("late", Echo("late"))
    bucket.stop()
    try:
        service.deploy("late", endpoint_name="late", worker_group=FIRST, wait_s=0)
        view = service.wait_for_status("late", "failed")
        assert "artifact store can't be reached" in view["reason"]
        # The API refuses jobs of an endpoint whose first deploy failed; a Celery program's jobs wait for it.
        waiting = service.celery.send_task("predict", args=["late", "x"], queue=queue_name("late"))
        assert service.predict(FIRST, "meanwhile")["prediction"] == ["2", "meanwhile"]
        metadata = {"name": "no", "runtime": "python", "input_example": "x"}
        form: dict[str, Any] = {"files": {"artifact": dumped(Echo("no"))}, "data": {"metadata": json.dumps(metadata)}}
        refused = service.api.post("/models", **form)
        assert expect(503, refused)["code"] == "artifact_store_unavailable"
    finally:
        bucket.start()
    service.wait_for_status("late", "active", 60)
    assert waiting.get(timeout=60)["prediction"] == ["late", "x"]
