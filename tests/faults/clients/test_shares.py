"""One client takes all it can; enough is left for the others of the same service."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import redis

from tests.faults.conftest import FAST
from tests.support.calls import Calls, expect
from tests.support.models import Sleeper
from tests.support.servers.secured_redis import SecuredStack, with_users
from tests.support.service.ports import free_port
from tests.support.waiting import eventually
from workers import keys
from workers.jobs.weights import BYTES_SUFFIX

LOAD_S = 1.5
PLACES = 10
ENV = {
    **FAST,
    "QUEUECAST_MAX_HELD_WAITS": str(PLACES),
    "QUEUECAST_MAX_EVENT_STREAMS": str(PLACES),
    "QUEUECAST_EVENT_HEARTBEAT_S": "0.2",
}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredStack]:
    """A service that asks for keys, with one worker."""
    folder = tmp_path_factory.mktemp("shares")
    with SecuredStack(folder / "stack", with_users(free_port(), folder / "redis"), ENV) as running:
        running.start_worker()
        yield running


@pytest.fixture
def client_of(secured: SecuredStack, name: str) -> Iterator[Callable[[str], Calls]]:
    """Make a key of role `client`, and return the calls that use it."""
    made: list[httpx.Client] = []

    def make(who: str) -> Calls:
        key = expect(201, secured.api.post("/keys", json={"name": f"{name}-{who}", "role": "client"}))["key"]
        calls = Calls()
        calls.api = httpx.Client(base_url=secured.url, timeout=75, headers={"Authorization": f"Bearer {key}"})
        made.append(calls.api)
        return calls

    yield make
    for api in made:
        api.close()


@contextmanager
def again_and_again(what: Callable[[], None]) -> Iterator[None]:
    """Repeat a call on another thread until the block ends."""
    over, failures = threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            while not over.is_set():
                what()
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)
    assert not failures, failures


@pytest.mark.long
def test_who_cancels_by_force_all_the_time_keeps_no_host_from_others(
    secured: SecuredStack, client_of: Callable[[str], Calls], name: str
) -> None:
    greedy, victim = client_of("greedy"), client_of("victim")
    secured.register(name, Sleeper(LOAD_S))
    secured.deploy(name, endpoint_name=name)
    cancelled: list[str] = []

    def force() -> None:
        job_id = greedy.submit(name, "0.3")
        greedy.wait_until_running([job_id])
        answer = greedy.api.delete(f"/jobs/{job_id}", params={"force": "true"})
        if answer.status_code == 200:  # else it was over already
            assert answer.json()["status"] == "cancelled"
            cancelled.append(job_id)

    latencies_s, attempts = [], set()
    with again_and_again(force):
        eventually(lambda: cancelled)
        for _ in range(15):
            began = time.monotonic()
            attempts.add(victim.predict(name, "0")["attempts"])
            latencies_s.append(time.monotonic() - began)
    assert len(cancelled) > 5
    assert {greedy.job(job_id)["status"] for job_id in cancelled} == {"cancelled"}
    assert statistics.median(latencies_s) < LOAD_S / 2, latencies_s
    assert sum(latency_s > LOAD_S for latency_s in latencies_s) <= 2, latencies_s
    assert attempts == {1}, "no job counts an attempt of another"


def test_a_client_stops_a_host_that_runs_its_own_job_alone(
    secured: SecuredStack, client_of: Callable[[str], Calls], name: str
) -> None:
    client = client_of("only")
    secured.register(name, Sleeper(0.0))
    secured.deploy(name, endpoint_name=name)
    job_id = client.submit(name, "60")
    client.wait_until_running([job_id])
    assert client.api.delete(f"/jobs/{job_id}", params={"force": "true"}).status_code == 200
    assert client.predict(name, "0")["attempts"] == 1


def test_an_operators_force_stops_a_host_at_once_and_counts_as_no_attempt_of_the_others(
    secured: SecuredStack, client_of: Callable[[str], Calls], name: str, tmp_path: Path
) -> None:
    first, second = client_of("first"), client_of("second")
    secured.register(name, Sleeper(0.0))
    secured.deploy(name, endpoint_name=name)
    before = first.submit(name, "0.5")
    first.wait_until_running([before])
    mates = [first.submit(name, "60"), second.submit(name, "0"), second.submit(name, "0.01")]
    first.wait_until_running(mates[:1])
    second.wait_until_running(mates[1:])
    assert secured.api.delete(f"/jobs/{mates[0]}", params={"force": "true"}).status_code == 200
    outcomes = second.outcomes(mates[1:])
    assert [(each["attempts"], each["batch_size"]) for each in outcomes] == [(1, 2), (1, 2)]
    assert [second.job(job_id)["failures"] for job_id in mates[1:]] == [[], []]


@pytest.fixture
def unserved(secured: SecuredStack, name: str) -> str:
    """An endpoint whose jobs stay in their queue."""
    secured.register(name, Sleeper(0.0))
    secured.deploy(name, endpoint_name=name, worker_group="nobody", wait_s=0)
    return name


@pytest.mark.parametrize("by_ticket", [False, True], ids=["key", "ticket"])
def test_who_opens_all_streams_that_it_can_leaves_one_to_another(
    secured: SecuredStack, client_of: Callable[[str], Calls], unserved: str, *, by_ticket: bool
) -> None:
    greedy, victim = client_of("greedy"), client_of("victim")
    mine, theirs = greedy.submit(unserved, "0"), victim.submit(unserved, "0")
    address = f"/jobs/{mine}/events"
    if by_ticket:
        address = expect(201, greedy.api.post(f"/jobs/{mine}/events-link"))["url"]
    eventually(lambda: "queuecast_event_streams 0.0" in secured.api.get("/metrics").text, message="none is open")
    with ExitStack() as held:
        opened = [held.enter_context(greedy.api.stream("GET", address)).status_code for _ in range(PLACES + 2)]
        assert opened == [200] * (PLACES - 1) + [429] * 3
        with victim.api.stream("GET", f"/jobs/{theirs}/events") as stream:
            assert stream.status_code == 200
            assert "queued" in next(line for line in stream.iter_lines() if line.startswith("event"))


def test_who_waits_as_often_as_it_can_leaves_a_wait_to_another(
    client_of: Callable[[str], Calls], unserved: str
) -> None:
    greedy, victim = client_of("greedy"), client_of("victim")
    mine, theirs = greedy.submit(unserved, "0"), victim.submit(unserved, "0")

    def wait(who: Calls, job_id: str, wait_s: int) -> float:
        began = time.monotonic()
        who.job(job_id, wait_s)
        return time.monotonic() - began

    with ThreadPoolExecutor(PLACES + 2) as pool:
        waits = [pool.submit(wait, greedy, mine, 4) for _ in range(PLACES + 2)]
        eventually(lambda: sum(each.done() for each in waits) == 3, message="the others had no place")
        assert wait(victim, theirs, 1) >= 1
    assert sum(each.result() >= 4 for each in waits) == PLACES - 1


def test_a_queue_is_bounded_in_bytes(secured: SecuredStack, client_of: Callable[[str], Calls], unserved: str) -> None:
    client = client_of("one")
    secured.deploy(unserved, endpoint_name=unserved, worker_group="nobody", wait_s=0, max_queue_bytes=300_000)
    jobs = [client.submit(unserved, "0" * 120_000) for _ in range(2)]
    one = client.api.post(f"/predict/{unserved}", json={"input": "0" * 120_000})
    many = client.api.post(f"/predict/{unserved}/bulk", json=[{"input": "0" * 60_000}] * 2)
    for refused in (one, many):
        assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
        assert refused.json()["full"] == "max_queue_bytes"
        assert int(refused.headers["Retry-After"]) >= 1
    view = secured.view(unserved)
    assert 240_000 < view["queue_bytes"] < 300_000
    assert view["settings"]["max_queue_bytes"] == 300_000
    assert f'queuecast_queue_bytes{{endpoint="{unserved}"}}' in secured.api.get("/metrics").text
    assert client.api.delete(f"/jobs/{jobs[0]}").status_code == 200
    client.submit(unserved, "0" * 120_000)


def test_a_queue_without_a_limit_of_its_own_has_an_eighth_of_the_memory_of_redis(
    secured: SecuredStack, client_of: Callable[[str], Calls], unserved: str
) -> None:
    with redis.Redis.from_url(secured.redis.url) as admin:
        told = eventually(lambda: int(admin.hget(keys.LIMITS, BYTES_SUFFIX) or 0))
        assert told == admin.info("memory")["total_system_memory"] // 8
        client = client_of("one")
        client.submit(unserved, "0")
        admin.hset(keys.weights(unserved), " bytes", told)
        refused = client.api.post(f"/predict/{unserved}", json={"input": "0"})
        # Unless a sweep was faster.
        assert refused.status_code == 202 or refused.json()["full"] == "max_queue_bytes"
        admin.hset(keys.weights(unserved), " bytes", told)
        counted = str(told).encode()
        eventually(lambda: admin.hget(keys.weights(unserved), " bytes") != counted, message="it is put right")
    assert client.job(client.submit(unserved, "0"), 0)["status"] == "queued"


@pytest.mark.long
def test_who_fills_a_queue_leaves_room_to_another_and_its_high_jobs_are_few(
    secured: SecuredStack, client_of: Callable[[str], Calls], name: str
) -> None:
    greedy, victim = client_of("greedy"), client_of("victim")
    secured.register(name, Sleeper(0.0))
    secured.deploy(name, endpoint_name=name, max_queue_length=1_000, max_batch_size=1)
    high = [{"input": "0.02", "priority": "high"}]
    full_of = set[str]()

    def flood() -> None:
        for many in (high * 50, high, [{"input": "0.02"}] * 100):
            answer = greedy.api.post(f"/predict/{name}/bulk", json=many)
            if answer.status_code == 429:
                full_of.add(answer.json()["full"])

    latencies_s = []
    with again_and_again(flood):
        eventually(lambda: full_of == {"high priority", "share of max_queue_length"}, message="it has all that it can")
        for _ in range(3):
            began = time.monotonic()
            body = {"input": "0", "priority": "high"}
            expect(200, victim.api.post(f"/predict/{name}", json=body, headers={"Prefer": "wait=30"}))
            latencies_s.append(time.monotonic() - began)
    # At most 100 jobs of the other client go before, and every tenth is of another priority.
    assert max(latencies_s) < 6, latencies_s
    secured.undeploy(name, "reject")
