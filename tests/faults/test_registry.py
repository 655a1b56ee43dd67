"""A registry or an artifact store that is away or damaged: what runs goes on, what can't be done says why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import psutil
import pytest

from tests.faults.conftest import FAST
from tests.support.models import Echo
from tests.support.servers.postgres import PostgresCluster
from tests.support.service.shared_stack import SharedStack
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

#: The longest that a request may take on a busy machine: one that discovers the outage, and one after it.
SILENCE_S, SUBMIT_S = 3.5, 1.0
#: The connections of the pool, and the one of the outage's thread.
MOST_CONNECTIONS = 31


def refused_requests(name: str) -> list[tuple[str, dict[str, object]]]:
    """Requests that only the registry can answer."""
    return [
        (f"/predict/{name}-gone", {"input": "x"}),
        ("/predict/never", {"input": "x"}),
        ("/predict", {"model_name": name, "input": "x"}),
        ("/deployments/deploy", {"model_name": name}),
    ]


@dataclass(frozen=True)
class Away:
    """A service whose registry's database can go away."""

    stack: Stack
    begin: Callable[[], object]
    end: Callable[[], object]


@pytest.fixture(scope="module")
def _shared_on_postgresql(
    tmp_path_factory: pytest.TempPathFactory, postgres_cluster: PostgresCluster
) -> Iterator[SharedStack]:
    url = postgres_cluster.create_database()
    shared = SharedStack(lambda: Stack(tmp_path_factory.mktemp("registry"), database_url=url, env=FAST))
    yield shared
    shared.close()
    postgres_cluster.drop_database(url)


@pytest.fixture
def on_postgresql(_shared_on_postgresql: SharedStack, name: str, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A service as `service` is, whose registry is a PostgreSQL database."""
    yield _shared_on_postgresql.get()
    _shared_on_postgresql.clean(name, request.node)


def serve_echo(stack: Stack, name: str) -> None:
    """Serve a model under its own name."""
    stack.register(name, Echo("m"))
    stack.deploy(name, endpoint_name=name)


def check_deploys(stack: Stack, name: str) -> None:
    """Check that the model can be deployed under another name."""
    stack.deploy(name, endpoint_name=f"{name}-another")
    assert stack.predict(f"{name}-another", "after")["prediction"] == ["m", "after"]


@pytest.mark.postgres
def test_running_deployments_go_on_while_the_registry_is_away(
    on_postgresql: Stack, name: str, postgres_cluster: PostgresCluster
) -> None:
    stack = on_postgresql
    serve_echo(stack, name)
    assert stack.predict(name, "before")["prediction"] == ["m", "before"]
    postgres_cluster.crash()
    try:
        eventually(lambda: httpx.get(f"{stack.url}/health/ready").status_code == 503, message="the API sees it")
        for number in range(5):
            assert stack.predict(name, str(number))["prediction"] == ["m", str(number)]
        refused = stack.api.post("/deployments/deploy", json={"model_name": name})
        assert refused.status_code == 503
        assert refused.json()["code"] == "registry_unavailable"
    finally:
        postgres_cluster.resume()
    stack.wait_for_status(name, "active")
    check_deploys(stack, name)


@pytest.mark.postgres
def test_submits_go_on_at_their_speed_while_the_registry_hangs(
    on_postgresql: Stack, name: str, postgres_cluster: PostgresCluster
) -> None:
    stack = on_postgresql
    serve_echo(stack, name)
    assert stack.predict(name, "before")["prediction"] == ["m", "before"]

    def deploy(_number: int = 0) -> float:
        refused = stack.api.post("/deployments/deploy", json={"model_name": name})
        assert (refused.status_code, refused.json()["code"]) == (503, "registry_unavailable")
        return refused.elapsed.total_seconds()

    postgres_cluster.freeze()
    try:
        with ThreadPoolExecutor(40) as threads:
            assert max(threads.map(deploy, range(40))) < SILENCE_S
        assert deploy() < SUBMIT_S, "a known outage keeps no request waiting"
        answers = [stack.api.post(f"/predict/{name}", json={"input": str(number)}) for number in range(300)]
        assert {answer.status_code for answer in answers} == {202}
        took_s = sorted(answer.elapsed.total_seconds() for answer in answers)
        # On a busy machine any of them may be late, but not for the registry.
        assert took_s[len(took_s) * 95 // 100] < SUBMIT_S
        assert took_s[-1] < SILENCE_S
        assert len(connections_to(postgres_cluster, stack)) <= MOST_CONNECTIONS
    finally:
        postgres_cluster.thaw()
    eventually(lambda: httpx.get(f"{stack.url}/health/ready").status_code == 200, message="the API sees it again")
    check_deploys(stack, name)


@pytest.fixture
def away(request: pytest.FixtureRequest) -> Iterator[Away]:
    """A service, and how its registry goes away and comes back."""
    if request.param == "postgresql":
        cluster = request.getfixturevalue("postgres_cluster")
        running = request.getfixturevalue("on_postgresql")
        yield Away(running, cluster.crash, cluster.resume)
        return
    running = request.getfixturevalue("service")
    yield Away(running, running.hide_registry, running.show_registry)


@pytest.mark.parametrize("away", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
def test_an_api_that_starts_while_the_registry_is_away_takes_jobs_for_what_workers_serve(away: Away, name: str) -> None:
    stack = away.stack
    serve_echo(stack, name)
    stack.deploy(name, endpoint_name=f"{name}-gone")
    stack.undeploy(f"{name}-gone")
    away.begin()
    try:
        stack.server.stop()
        stack.start_server(ready=False)
        assert stack.predict(name, "after the restart")["prediction"] == ["m", "after the restart"]
        bulk = stack.api.post(f"/predict/{name}/bulk", json=[{"input": "a"}, {"input": "b"}])
        assert bulk.status_code == 202, bulk.text
        for path, body in refused_requests(name):
            refused = stack.api.post(path, json=body)
            assert (refused.status_code, refused.json()["code"]) == (503, "registry_unavailable"), path
        wrong = stack.api.post(f"/predict/{name}", json={"input": {"not": "text"}})
        assert wrong.json()["code"] == "input_invalid"
    finally:
        away.end()
    check_deploys(stack, name)
    assert stack.predict(name, "back")["prediction"] == ["m", "back"]


def connections_to(cluster: PostgresCluster, stack: Stack) -> list[object]:
    found = psutil.Process(stack.server.pid).net_connections()
    return [each for each in found if each.raddr and each.raddr.port == cluster.port]


def damage(stack: Stack, sha256: str) -> None:
    """Change a byte of an artifact, in the store and in every cache."""
    for path in (stack.folder / "data").rglob(sha256):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)


def test_a_damaged_artifact_fails_its_deploy_and_the_running_version_stays(service: Stack, name: str) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name)
    damaged = service.register(name, Echo("2"))
    damage(service, damaged["artifact_sha256"])
    answer = service.api.post(
        "/deployments/deploy",
        json={"model_name": name, "version": "2", "endpoint_name": name},
        headers={"Prefer": "wait=30"},
    )
    assert answer.status_code == 409
    assert damaged["artifact_sha256"] in answer.json()["detail"]
    assert "damaged" in answer.json()["detail"]
    assert service.predict(name, "x")["prediction"] == ["1", "x"]


def test_an_artifact_store_that_is_gone_fails_the_deploy_and_the_running_version_stays(
    service: Stack, name: str
) -> None:
    service.register(name, Echo("1"))
    service.deploy(name, endpoint_name=name)
    service.register(name, Echo("2"))
    store = service.folder / "data" / "artifacts"
    away = store.rename(store.with_name("away"))
    try:
        answer = service.api.post(
            "/deployments/deploy",
            json={"model_name": name, "version": "2", "endpoint_name": name},
            headers={"Prefer": "wait=30"},
        )
        assert answer.status_code == 409
        assert "artifact" in answer.json()["detail"].lower()
        assert service.predict(name, "x")["prediction"] == ["1", "x"]
    finally:
        away.rename(store)
    # It is tried again by itself.
    eventually(lambda: service.predict(name, "x")["prediction"] == ["2", "x"], 30, message="the new version serves")
