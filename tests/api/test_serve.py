"""`python -m api.serve` as a process: hundreds of held polls, its end, and what it says when it can't start."""

from __future__ import annotations

import asyncio
import hashlib
import json
import resource
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from api import serve as api_serve
from registry.access import api_keys
from registry.database import Database
from registry.roles import Role
from tests.support.metrics import Scrape
from tests.support.service.environment import clean_environment
from tests.support.service.ports import free_port, refuses_connections
from tests.support.service.processes import Child
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow]

POLLERS = 500
START_TIMEOUT_S = 30.0
#: Longer than any of these tests may take: what is answered before was not answered by its time.
WAIT_S = 60


class Served:
    """The server's process, on a registry with one endpoint, "adding"."""

    def __init__(self, folder: Path, redis_url: str, registry: Path, *, limit: str = "", **settings: str) -> None:
        data, self.port = folder / "data", free_port()
        data.mkdir()
        shutil.copy(registry, data / "registry.db")
        env = clean_environment(
            QUEUECAST_DATA_DIR=str(data), QUEUECAST_REDIS_URL=redis_url, QUEUECAST_PORT=str(self.port), **settings
        )
        self.child = start(env, folder, limit)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)
        self.child.wait_for_log("listens on", START_TIMEOUT_S)

    def submit(self) -> str:
        answer = self.client.post("/predict/adding", json={"input": [1, 2]})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    def connections(self) -> int:
        """Count the connections that it has accepted."""
        found = psutil.Process(self.child.pid).net_connections("tcp")
        return sum(each.laddr.port == self.port and each.status == "ESTABLISHED" for each in found)

    def stop(self) -> None:
        self.client.close()
        self.child.stop()


def start(env: dict[str, str], folder: Path, limit: str = "") -> Child:
    command = ["python", "-m", "api.serve"]
    if limit:
        command = ["sh", "-c", f'ulimit {limit} && exec "$0" "$@"', *command]
    return Child(command, env=env, log_path=folder / "web.log")


@pytest.fixture
def serve(tmp_path: Path, redis_url: str, serving_file: Path) -> Iterator[Callable[..., Served]]:
    """Start the server with settings of its own; it is stopped after the test."""
    started: list[Served] = []

    def begin(**settings: str) -> Served:
        started.append(Served(tmp_path, redis_url, serving_file, **settings))
        return started[-1]

    yield begin
    for each in started:
        each.stop()


class Caller:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def connect(self) -> Caller:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def ask(self, method: str, path: str, document: Any = None, prefer: str = "") -> tuple[int, Any]:
        """Return status and document; raises IncompleteReadError if the connection ends before them."""
        body = b"" if document is None else json.dumps(document).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nPrefer: {prefer}\r\n\r\n"
        self._writer.write(head.encode() + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        [length] = [line.partition(":")[2] for line in lines if line.startswith("content-length:")]
        return int(lines[0].split()[1]), json.loads(await self._reader.readexactly(int(length)))

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process may open a file for each of hundreds of connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3 * POLLERS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def held(served: Served, job_id: str, number: int) -> tuple[list[Caller], list[asyncio.Task[tuple[int, Any]]]]:
    """Hold long polls, each on a connection of its own; return when the server has all of them."""
    callers = await asyncio.gather(*(Caller(served.port).connect() for _ in range(number)))
    polls = [asyncio.create_task(each.ask("GET", f"/jobs/{job_id}?wait={WAIT_S}")) for each in callers]
    await asyncio.to_thread(eventually, lambda: served.connections() >= number, 30)
    return callers, polls


async def test_hundreds_of_held_polls_keep_no_submit_waiting_and_wake_together(
    serve: Callable[..., Served], many_files: None
) -> None:
    # A soft limit below what is needed is raised by the server itself.
    served = serve(limit="-S -n 256")
    job_id = served.submit()

    callers, polls = await held(served, job_id, POLLERS)
    submits = [await Caller(served.port).connect() for _ in range(8)]
    for _ in range(5):
        asking = [each.ask("POST", "/predict/adding", {"input": [1, 2]}) for each in submits]
        answers = await asyncio.wait_for(asyncio.gather(*asking), 30)
        assert [status for status, _ in answers] == [202] * len(submits)
    assert not any(poll.done() for poll in polls)
    assert (await submits[0].ask("DELETE", f"/jobs/{job_id}"))[0] == 200
    answers = await asyncio.wait_for(asyncio.gather(*polls), 30)
    assert {(status, job["status"]) for status, job in answers} == {(200, "cancelled")}
    for each in (*callers, *submits):
        each.close()


async def test_sigterm_answers_all_that_is_held_and_ends_with_0(serve: Callable[..., Served], many_files: None) -> None:
    served = serve()
    job_id = served.submit()

    callers, polls = await held(served, job_id, POLLERS)
    others = [await Caller(served.port).connect() for _ in range(3)]
    prefer = f"wait={WAIT_S}"
    waits = [
        asyncio.create_task(others[0].ask("POST", "/predict/adding", {"input": [1, 2]}, prefer)),
        asyncio.create_task(others[1].ask("POST", "/deployments/deploy", {"model_name": "adder"}, prefer)),
    ]
    await asyncio.to_thread(eventually, lambda: len(served.client.get("/jobs").json()["jobs"]) == 2)
    await asyncio.to_thread(eventually, lambda: len(served.client.get("/deployments").json()["deployments"]) == 2)
    assert not any(each.done() for each in (*polls, *waits))
    served.child.send(signal.SIGTERM)
    answers = await asyncio.wait_for(asyncio.gather(*polls), 30)
    assert {(status, job["status"]) for status, job in answers} == {(200, "queued")}
    assert [status for status, _ in await asyncio.wait_for(asyncio.gather(*waits), 30)] == [202, 202]
    for each in (*callers, *others):
        each.close()
    assert served.child.wait() == 0
    assert refuses_connections(served.port)
    assert "Traceback" not in served.child.log()


@pytest.mark.parametrize(("setting", "kind"), [("uvloop", "uvloop"), ("asyncio", "asyncio")])
async def test_each_kind_of_event_loop_serves_and_ends(serve: Callable[..., Served], setting: str, kind: str) -> None:
    served = serve(QUEUECAST_EVENT_LOOP=setting)
    assert f", {kind})" in served.child.log()
    job_id = served.submit()
    callers, polls = await held(served, job_id, 20)
    answer = await asyncio.to_thread(served.client.get, "/deployments")  # by the Flask app, in a thread
    assert answer.status_code == 200
    assert not any(poll.done() for poll in polls)
    served.client.delete(f"/jobs/{job_id}")
    answers = await asyncio.wait_for(asyncio.gather(*polls), 30)
    assert {job["status"] for _, job in answers} == {"cancelled"}
    served.child.send(signal.SIGTERM)
    assert served.child.wait() == 0
    assert "Traceback" not in served.child.log()
    for each in callers:
        each.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_with_0_whatever_connections_are_open(
    serve: Callable[..., Served], number: signal.Signals
) -> None:
    served = serve()
    with socket.create_connection(("127.0.0.1", served.port), 5):
        assert served.client.get("/health/live").status_code == 200
        served.child.send(number)
        assert served.child.wait() == 0


def test_a_second_signal_gives_up_what_is_still_being_answered(serve: Callable[..., Served]) -> None:
    served = serve()
    with socket.create_connection(("127.0.0.1", served.port), 5) as slow:
        # Half of a body: the request is under way until the other half comes.
        slow.sendall(b'POST /predict/adding HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"input": ')
        assert served.client.get("/health/live").status_code == 200
        served.child.send(signal.SIGTERM)
        eventually(lambda: refuses_connections(served.port))
        assert served.child.running
        began = time.monotonic()
        served.child.send(signal.SIGTERM)
        assert served.child.wait() == 0
        assert time.monotonic() - began < api_serve._LAST_ANSWERS_S - 1


async def test_more_polls_than_may_be_held_are_answered_at_once(serve: Callable[..., Served]) -> None:
    served = serve(QUEUECAST_MAX_HELD_WAITS="3", QUEUECAST_REQUEST_THREADS="2")
    job_id = served.submit()

    callers, polls = await held(served, job_id, 3)
    for _ in range(4):
        answer = await asyncio.to_thread(served.client.get, f"/jobs/{job_id}", params={"wait": WAIT_S})
        assert answer.json()["status"] == "queued"
    assert served.submit()
    assert not any(poll.done() for poll in polls)
    served.client.delete(f"/jobs/{job_id}")
    answers = await asyncio.wait_for(asyncio.gather(*polls), 30)
    assert {job["status"] for _, job in answers} == {"cancelled"}
    for each in callers:
        each.close()


async def test_a_client_that_leaves_gives_its_place_to_another(serve: Callable[..., Served]) -> None:
    served = serve(QUEUECAST_MAX_HELD_WAITS="1")
    job_id = served.submit()

    [leaving], [poll] = await held(served, job_id, 1)
    leaving.close()
    await asyncio.gather(poll, return_exceptions=True)
    counted = 'route="/jobs/<job_id>",status="499"'
    await asyncio.to_thread(eventually, lambda: counted in served.client.get("/metrics").text)
    [staying], [poll] = await held(served, job_id, 1)
    assert not (await asyncio.wait([poll], timeout=1))[0]
    served.client.delete(f"/jobs/{job_id}")
    assert (await asyncio.wait_for(poll, 30))[1]["status"] == "cancelled"
    staying.close()
    assert "Traceback" not in served.child.log()


def test_with_fewer_files_than_it_wants_it_says_so_and_answers(serve: Callable[..., Served]) -> None:
    served = serve(limit="-n 400")
    assert "The system allows 400 open files: only 144 connections are taken at once" in served.child.log()
    assert served.submit()


def test_a_large_artifact_is_stored_whole_and_one_over_the_limit_is_a_413(serve: Callable[..., Served]) -> None:
    served = serve(QUEUECAST_MAX_ARTIFACT_BYTES=str(4 * 1024 * 1024))
    metadata = json.dumps({"name": "big", "runtime": "python", "input_example": 1})
    artifact = bytes(range(256)) * 12_000
    answer = served.client.post("/models", data={"metadata": metadata}, files={"artifact": artifact})
    assert answer.json()["artifact_sha256"] == hashlib.sha256(artifact).hexdigest()
    answer = served.client.post("/models", data={"metadata": metadata}, files={"artifact": artifact * 2})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_a_body_without_a_length_is_read_too(serve: Callable[..., Served]) -> None:
    served = serve()
    answer = served.client.post("/predict/adding", content=iter([b'{"input": ', b"[1, 2]}"]))
    assert answer.status_code == 202


def test_a_body_without_a_length_is_refused_whole_where_it_is_too_long(serve: Callable[..., Served]) -> None:
    served = serve(QUEUECAST_MAX_BODY_BYTES="65536")
    lines = (b'{"input": [1, 2]}\n' for _ in range(70_000))
    headers = {"Content-Type": "application/x-ndjson"}
    answer = served.client.post("/predict/adding/bulk", content=lines, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert served.client.get("/jobs").json()["jobs"] == []


def test_bodies_of_those_who_have_shown_no_key_take_no_threads_from_others(
    tmp_path: Path, redis_url: str, serving_file: Path
) -> None:
    registry = tmp_path / "with-a-key.db"
    database = Database(f"sqlite:///{shutil.copy(serving_file, registry)}")
    with database.session() as session:
        _, key = api_keys.create(session, "shop", Role.CLIENT)
        session.commit()
    database.close()
    few_threads = {
        "QUEUECAST_MAX_HELD_WAITS": "4",
        "QUEUECAST_MAX_EVENT_STREAMS": "4",
        "QUEUECAST_REQUEST_THREADS": "32",
    }
    served = Served(tmp_path, redis_url, registry, QUEUECAST_AUTH="on", **few_threads)
    form = b"Host: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 99\r\n\r\nkey="
    try:
        with ExitStack() as stalled:
            for _ in range(60):
                each = stalled.enter_context(socket.create_connection(("127.0.0.1", served.port), 30))
                each.sendall(b"POST /console/login HTTP/1.1\r\n" + form)
            headers = {"Authorization": f"Bearer {key}"}
            for _ in range(3):
                answer = served.client.post("/predict/adding", json={"input": [1, 2]}, headers=headers)
                assert answer.status_code == 202
    finally:
        served.stop()


class Several(Served):
    """Three processes on one port."""

    def __init__(self, folder: Path, redis_url: str, registry: Path) -> None:
        self.counters = folder / "counters"
        self.counters.mkdir()
        several = {"QUEUECAST_API_PROCESSES": "3", "PROMETHEUS_MULTIPROC_DIR": str(self.counters)}
        super().__init__(folder, redis_url, registry, **several)
        eventually(lambda: len(self.answering()) == 3, START_TIMEOUT_S)

    def siblings(self) -> list[psutil.Process]:
        found: list[psutil.Process] = psutil.Process(self.child.pid).children()
        return found

    def answering(self) -> set[int]:
        """Return the processes that hold a connection of many."""
        with ExitStack() as closing:
            for _ in range(30):
                closing.enter_context(socket.create_connection(("127.0.0.1", self.port), 5))
            return {each.pid for each in (psutil.Process(self.child.pid), *self.siblings()) if self._serves(each)}

    def _serves(self, process: psutil.Process) -> bool:
        try:
            found = process.net_connections("tcp")
        except psutil.Error:  # it ends
            return False
        return any(each.laddr.port == self.port and each.status == "ESTABLISHED" for each in found)


@pytest.fixture
def several(tmp_path: Path, redis_url: str, serving_file: Path) -> Iterator[Several]:
    found = Several(tmp_path, redis_url, serving_file)
    yield found
    found.stop()


def test_several_processes_share_the_port_and_add_up_their_counts(several: Several) -> None:
    for _ in range(60):
        assert httpx.get(f"http://127.0.0.1:{several.port}/health/live").status_code == 200
    answer = httpx.get(f"http://127.0.0.1:{several.port}/metrics").text
    counted = Scrape(answer).value("queuecast_http_requests_total", method="GET", route="/health/live", status="200")
    assert counted == 60
    assert len({each.name.rpartition("_")[2] for each in several.counters.glob("counter_*.db")}) > 1


def test_a_process_that_dies_is_started_again_and_all_end_with_the_first(several: Several) -> None:
    [victim, other] = several.siblings()
    victim.kill()
    several.child.wait_for_log(f"API process {victim.pid} has ended")
    eventually(lambda: len(several.answering()) == 3, START_TIMEOUT_S)
    assert several.submit()
    last = several.siblings()
    assert other in last
    several.child.send(signal.SIGTERM)
    assert several.child.wait() == 0
    assert not any(each.is_running() for each in last)
    assert refuses_connections(several.port)
    assert "Traceback" not in several.child.log()


@pytest.mark.long
def test_no_process_outlives_the_first(several: Several) -> None:
    others = several.siblings()
    several.child.send(signal.SIGKILL)
    eventually(lambda: not any(each.is_running() for each in others))


def test_several_processes_need_a_folder_for_their_counts(tmp_path: Path) -> None:
    env = clean_environment(
        QUEUECAST_DATA_DIR=str(tmp_path), QUEUECAST_PORT=str(free_port()), QUEUECAST_API_PROCESSES="2"
    )
    with Child(["python", "-m", "api.serve"], env=env, log_path=tmp_path / "web.log") as child:
        assert child.wait() == 1
        assert "QUEUECAST_API_PROCESSES=2 needs PROMETHEUS_MULTIPROC_DIR" in child.log()


def test_a_taken_port_is_named_with_its_variable(serve: Callable[..., Served], tmp_path: Path) -> None:
    served = serve()
    env = clean_environment(QUEUECAST_DATA_DIR=str(tmp_path / "data"), QUEUECAST_PORT=str(served.port))
    with Child(["python", "-m", "api.serve"], env=env, log_path=tmp_path / "second.log") as second:
        assert second.wait() == 1
        log = second.log()
    assert f"can't listen on 127.0.0.1:{served.port}" in log
    assert "QUEUECAST_PORT" in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("QUEUECAST_PORT", "http"),
        ("QUEUECAST_PORT", "70000"),
        ("QUEUECAST_HOST", "no such host"),
        ("QUEUECAST_MAX_HELD_WAITS", "-1"),
        ("QUEUECAST_RESULT_TTL_S", "never"),
        ("DATABASE_URL", "nonsense://:secret@here"),
        ("QUEUECAST_REDIS_URL", "nonsense://:secret@here"),
        ("QUEUECAST_REDIS_URL", "redis://:secret@here:port"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_served(tmp_path: Path, variable: str, value: str) -> None:
    env = clean_environment(QUEUECAST_DATA_DIR=str(tmp_path), QUEUECAST_PORT=str(free_port())) | {variable: value}
    with Child(["python", "-m", "api.serve"], env=env, log_path=tmp_path / "web.log") as child:
        assert child.wait() == 1
        log = child.log()
    assert variable in log
    assert "secret" not in log
    assert "Traceback" not in log
