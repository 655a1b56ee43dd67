"""Real hosts from a real forkserver, on an event loop of the tests."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from registry import runtimes
from workers.hosts.worker_side.host import Answer, LoadRequest, RemoteHost
from workers.hosts.worker_side.launcher import HostLauncher

_T = TypeVar("_T")
#: Variables of a worker that hosts must not see; all have the same value.
SECRET = "s3cr3t-Xh4"
SECRETS = {
    "DATABASE_URL": f"postgresql://queuecast:{SECRET}@127.0.0.1:1/registry",
    "QUEUECAST_BROKER_URL": f"amqp://user:{SECRET}@127.0.0.1:1//",
    "QUEUECAST_ARTIFACTS_URL": f"s3://bucket?key={SECRET}",
    "QUEUECAST_WEBHOOK_SECRETS": f"whsec_{SECRET}",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "FLOWER_BASIC_AUTH": f"admin:{SECRET}",
}


@dataclass(frozen=True)
class Predicted:
    """What a host answered, with its outputs and errors as plain values."""

    outputs: list[Any]
    errors: dict[int, dict[str, str]]
    predict_ms: float
    tracebacks: dict[int, str]

    @classmethod
    def of(cls, answer: Answer) -> Predicted:
        errors = {row: {"type": error.type, "message": error.message} for row, error in answer.errors.items()}
        tracebacks = {row: error.traceback for row, error in answer.errors.items()}
        return cls([json.loads(bytes(each)) for each in answer.outputs], errors, answer.predict_ms, tracebacks)


class Hosts:
    """Starts hosts for a test and stops them at its end.

    Attributes:
        launcher: starts them.
    """

    def __init__(self, runner: asyncio.Runner, launcher: HostLauncher, folder: Path) -> None:
        self.launcher = launcher
        self._runner = runner
        self._folder = folder
        self._started: list[RemoteHost] = []

    def run(self, work: Awaitable[_T]) -> _T:
        """Run something on the event loop until it is done."""

        async def awaited() -> _T:
            return await work

        return self._runner.run(awaited())

    def warm_up(self, runtime: str) -> None:
        """Preload the libraries of a runtime for hosts that are started later."""

        async def sent() -> None:
            self.launcher.warm_up(runtime)

        self.run(sent())

    def request(self, model: object, input_example: Any = None, **options: Any) -> LoadRequest:
        """Store a model; return what loads it."""
        path = self._folder / f"model-{time.monotonic_ns()}"
        path.write_bytes(runtimes.get("python").dump(model))
        return LoadRequest(str(path), "python", options, {"kind": "scalar", "dtype": "float"}, input_example)

    def spawn(self, max_memory_bytes: int | None = None, runtime: str = "python") -> RemoteHost:
        """Start a host without a model."""
        host = self.run(self.launcher.spawn(runtime, max_memory_bytes))
        self._started.append(host)
        return host

    def start(
        self,
        model: object,
        input_example: Any = None,
        max_memory_bytes: int | None = None,
        libraries_of: str = "python",
        **options: Any,
    ) -> RemoteHost:
        """Start a host with the libraries of a runtime, and have it load a Python object."""
        host = self.spawn(max_memory_bytes, libraries_of)
        self.run(host.load(self.request(model, input_example, **options), 60))
        return host

    def predict(
        self, host: RemoteHost, rows: list[Any], max_batch_size: int = 64, timeout_s: float = 30.0
    ) -> Predicted:
        return Predicted.of(self.run(host.predict(rows, max_batch_size, timeout_s)))

    def eventually(self, predicate: Callable[[], _T], timeout_s: float = 10.0) -> _T:
        """Let the event loop run until something is true; return it."""

        async def true() -> _T:
            ends_at = time.monotonic() + timeout_s
            while not (value := predicate()):
                assert time.monotonic() < ends_at, f"not true within {timeout_s:g} s; last value: {value!r}"
                await asyncio.sleep(0.01)
            return value

        return self.run(true())

    def stop(self) -> None:
        for host in self._started:
            self.run(host.stop())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """To start a model host takes a third of a second: too long for hundreds of tests of `make test-fast`."""
    for item in items:
        if {"hosts", "own_hosts", "lone_worker"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def launcher(runner: asyncio.Runner) -> Iterator[HostLauncher]:
    """One launcher for all tests, started by a worker with secrets and with sockets that could be inherited."""

    async def start() -> HostLauncher:
        launcher = HostLauncher(threads=1)
        launcher.warm_up("python")
        host = await launcher.spawn("python")
        await host.stop()
        return launcher

    with pytest.MonkeyPatch.context() as patch, socket.socket() as listening:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        listening.listen()
        os.set_inheritable(listening.fileno(), True)
        launcher = runner.run(start())
    yield launcher
    launcher.close()
    runner.run(asyncio.sleep(0))


@pytest.fixture
def hosts(runner: asyncio.Runner, launcher: HostLauncher, tmp_path: Path) -> Iterator[Hosts]:
    hosts = Hosts(runner, launcher, tmp_path)
    yield hosts
    hosts.stop()


@pytest.fixture
def own_hosts(runner: asyncio.Runner, tmp_path: Path) -> Iterator[Hosts]:
    """Hosts of a separate forkserver, for tests that stop it."""
    launcher = HostLauncher(threads=1)
    hosts = Hosts(runner, launcher, tmp_path)
    yield hosts
    launcher.close()
    hosts.stop()
