"""Show what a submit costs the thread of the API's event loop, stage by stage.

    python -m bench.studies.profiles.submit_stages
    python -m bench.studies.profiles.submit_stages --rounds 5 --at-once 1

Each row answers a constant after its stage instead of going on, so the difference to the row before is the stage's own
cost. All is in this process, with a Redis and a registry of its own and a stand-in for Granian (whose own threads, and
the wake-ups between them and the loop, are not in it). The figure is the least processor time of the thread
(`time.thread_time`) over many rounds, so that other load matters little.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import httpx

from api.app import create_app
from api.edge import handler
from api.edge.handler import Handler
from api.http.exchange import Answer
from api.http.server.http_server import HttpServer
from api.predictions import routes, service
from api.process.job_loop import default_job_loop
from api.settings import load
from bench.models import QUADRATIC, all_models
from tests.support.calls import Calls
from tests.support.service.ports import free_port
from workers.embedded_redis.server import EmbeddedRedis
from workers.jobs.accept import Accepted, PreparedJob
from workers.jobs.on_loop import scripts
from workers.jobs.on_loop.commits import Commits
from workers.jobs.on_loop.desk import Desk
from workers.platform import garbage

_SUBMITS_A_ROUND = 256
_WARM_UP_ROUNDS = 8
_FIXED_VALUES, _VALUES_OF_JOB = 15, 8
_BODY = all_models()[QUADRATIC].body()


class _Job:
    """What the last stages take for a job."""

    job_id, endpoint_name, record_bytes = "id", QUADRATIC, 0


class _Submitted:
    job = _Job


class _Scope:
    """A request as Granian tells of it."""

    http_version, scheme, method, query_string, authority = "1.1", "http", "POST", "", None
    server, client, path = "127.0.0.1:8000", "127.0.0.1:50000", f"/predict/{QUADRATIC}"
    headers: ClassVar = {"host": "localhost", "content-length": str(len(_BODY)), "content-type": "application/json"}


class _Proto:
    """Granian's side of a request: its body comes a turn of the loop after it is asked for."""

    def __aiter__(self) -> _Proto:
        return self

    def __anext__(self) -> asyncio.Future[bytes]:
        loop = asyncio.get_running_loop()
        part: asyncio.Future[bytes] = loop.create_future()
        loop.call_soon(part.set_result, _BODY)
        return part

    def response_bytes(self, status: int, _headers: Any, content: bytes) -> None:
        """Take the answer."""
        if status != 202:
            raise RuntimeError(f"HTTP {status}: {content[:300]!r}")


def _constant(*_: object) -> Answer:
    return Answer(202, {"Content-Type": "application/json", "Location": "/jobs/id", "Retry-After": "1"}, b"{}")


async def _answer_at_once(_self: HttpServer, _scope: Any, proto: _Proto) -> None:
    proto.response_bytes(202, [("Content-Type", "application/json")], b"{}")


async def _answer_after_body(_self: Handler, _here: Any, _request: Any, _route: Any, body: Any) -> Answer:
    await body.read(len(_BODY))
    return _constant()


async def _plan_nothing(call: Any, _route: Any, body: Any) -> Any:
    call.raw = await body.read(len(_BODY))
    return asyncio.sleep(0, _constant())


async def _submit_nothing(*_: object, **__: object) -> type[_Submitted]:
    return _Submitted


async def _accept_nothing(*_: object, **__: object) -> type[_Job]:
    return _Job


async def _commit_nothing(_self: Commits, new: PreparedJob, *_: object) -> Accepted:
    return Accepted(new.job.job_id, new.job.endpoint_name, 0.0, repeated=False, counts=(1, 0, 0))


async def _run_nothing(_client: Any, _source: Any, calls: Sequence[scripts.Call]) -> list[Any]:
    await asyncio.sleep(0)
    jobs = [(len(values) - _FIXED_VALUES) // _VALUES_OF_JOB for _, values in calls]
    return [[b"accepted", 1, 0, 0, *range(each)] for each in jobs]


@contextmanager
def _patched(*patches: tuple[Any, str, Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for where, name, instead in patches:
            stack.enter_context(patch.object(where, name, instead))
        yield


_ANSWER = (routes, "submitted", _constant)


def _stages() -> Iterator[tuple[str, AbstractContextManager[None]]]:
    yield "a task, and an answer given to Granian", _patched((HttpServer, "_answer", _answer_at_once))
    yield "environment, body, route, metrics, log context", _patched((Handler, "_answered", _answer_after_body))
    yield "who calls", _patched((handler, "_planned", _plan_nothing))
    yield "body parsed, deployment found, input checked", _patched((service, "submit", _submit_nothing), _ANSWER)
    yield "limits, places, paces", _patched((Desk, "submit", _accept_nothing), _ANSWER)
    yield "job, message and its record made, placed", _patched((Commits, "commit", _commit_nothing), _ANSWER)
    yield "gathered, script's arguments", _patched((scripts, "run", _run_nothing), _ANSWER)
    yield "packed, sent, reply read", _patched(_ANSWER)
    yield "answer made: all of it", nullcontext()


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="python -m bench.studies.profiles.submit_stages",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--at-once", type=int, nargs="+", default=[64, 16, 1])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="queuecast-bench-") as folder, _redis(Path(folder)):
        asyncio.run(_measure(options.rounds, options.at_once))


@contextmanager
def _redis(folder: Path) -> Iterator[None]:
    redis = EmbeddedRedis(free_port(), folder / "redis")
    redis.start()
    try:
        os.environ.update(QUEUECAST_DATA_DIR=str(folder), QUEUECAST_REDIS_URL=redis.url)
        subprocess.run([sys.executable, "-m", "registry.migrate"], check=True, stderr=subprocess.DEVNULL)
        yield
    finally:
        redis.stop()


def _server() -> HttpServer:
    app = create_app(load())
    calls, model = Calls(), all_models()[QUADRATIC]
    calls.api = httpx.Client(transport=httpx.WSGITransport(app=app), base_url="http://127.0.0.1")
    calls.register(QUADRATIC, model.model, model.row, runtime=model.runtime)
    calls.api.post("/deployments/deploy", json={"model_name": QUADRATIC, "endpoint_name": QUADRATIC}).raise_for_status()
    return HttpServer(app, Handler(app), threads=1, waiting=1, connections=1, backlog=1, idle_ms=1_000, silence_s=30)


async def _measure(rounds: int, at_once: Sequence[int]) -> None:
    # Made in a thread: it waits for the registry, and for the loop of jobs.
    server = await asyncio.to_thread(_server)
    default_job_loop().attach()
    print("| answered after | " + " | ".join(f"{each} at once, µs" for each in at_once) + " |")
    print("|---" * (len(at_once) + 1) + "|")
    garbage.collect_less()
    for name, stage in _stages():
        with stage:
            cells = [f"{await _least_us(server, each, rounds):.1f}" for each in at_once]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


async def _least_us(server: HttpServer, at_once: int, rounds: int) -> float:
    found = []
    for number in range(_WARM_UP_ROUNDS + rounds):
        began = time.thread_time()
        for _ in range(_SUBMITS_A_ROUND // at_once):
            await asyncio.gather(*(server._answer(_Scope, _Proto()) for _ in range(at_once)))  # noqa: SLF001
        if number >= _WARM_UP_ROUNDS:
            found.append((time.thread_time() - began) / (_SUBMITS_A_ROUND // at_once * at_once) * 1e6)
    return min(found)


if __name__ == "__main__":
    main()
