"""Fake model hosts and a launcher without processes, for unit tests of the engine."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Raw

from workers.engine.context import Context
from workers.errors import HostStartFailed
from workers.hosts.worker_side.host import Answer, HostGone, LoadRequest, RowError


class FakeHost:
    """Answers each row with itself, unless a test sets otherwise; belongs to one event loop."""

    def __init__(self, pid: int, max_memory_bytes: int | None) -> None:
        self.pid = pid
        self.gpu: str | None = None
        self.max_memory_bytes = max_memory_bytes
        self.load_ms: float | None = 1.0
        self.example_ms: float | None = None
        self.outputs = None
        self.warnings: list[str] = []
        self.memory_bytes = 0
        self.how_it_ended = "the model host was killed by a test."
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.niceness = 0
        #: Whether its niceness can be lowered again, which takes a right of the worker.
        self.can_be_less_nice = True
        #: What it answers to each row; None is the row itself.
        self.answer: bytes | None = None
        #: What `load` raises.
        self.load_error: Exception | None = None
        #: Set while it may load.
        self.may_load = asyncio.Event()
        self.may_load.set()
        #: What `predict` raises, once.
        self.error: Exception | None = None
        #: Whether it has exited when its answer arrives.
        self.exits_after_answer = False
        #: The errors of rows, by their index in the batch.
        self.row_errors: dict[int, RowError] = {}
        #: Set while it may answer.
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.batches: list[list[Raw]] = []
        #: The rows of each call of the model, for each batch.
        self.calls: list[list[int]] = []
        #: The memory limit at each batch.
        self.limits: list[int | None] = []

    async def load(self, _request: LoadRequest, _timeout_s: float) -> None:
        """Load nothing, once `may_load` is set."""
        await self.may_load.wait()
        if self.load_error is not None:
            raise self.load_error

    async def predict(self, rows: list[Raw], max_batch_size: int, _timeout_s: float) -> Answer:
        """Answer once `may_answer` is set, or raise HostGone."""
        self.batches.append(rows)
        self.calls.append([min(max_batch_size, len(rows) - at) for at in range(0, len(rows), max_batch_size)])
        self.limits.append(self.max_memory_bytes)
        answering = asyncio.ensure_future(self.may_answer.wait())
        either: list[asyncio.Future[Any]] = [answering, self.exited]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        answering.cancel()
        if self.exited.done():
            raise HostGone(self.how_it_ended)
        if self.error is not None:
            error, self.error = self.error, None
            if isinstance(error, HostGone):
                self._end()
            raise error
        if self.exits_after_answer:
            self._end()
        return Answer(1, [Raw(self.answer) if self.answer else row for row in rows], self.row_errors, 1.0)

    def set_nice(self, niceness: int) -> bool:
        """Note the niceness, if the operating system would allow it."""
        if niceness < self.niceness and not self.can_be_less_nice:
            return False
        self.niceness = niceness
        return True

    def kill(self, reason: str) -> None:
        """End now."""
        self.how_it_ended = reason
        self._end()

    async def stop(self) -> None:
        """End."""
        self._end()

    def _end(self) -> None:
        if not self.exited.done():
            self.exited.set_result(-9)


class FakeLauncher:
    """Makes fake hosts; `prepare` may change each before it loads."""

    def __init__(self, prepare: Callable[[FakeHost], None] = lambda _host: None) -> None:
        self.hosts: list[FakeHost] = []
        #: The interpreter of each; None is the worker's own.
        self.pythons: list[str | None] = []
        #: When each was started (loop time).
        self.spawned_at: list[float] = []
        self.prepare = prepare

    def warm_up(self, _runtime: str, _python: str | None = None) -> None:
        """Import nothing."""

    async def spawn(
        self, _runtime: str, max_memory_bytes: int | None, python: str | None = None, gpu: str | None = None
    ) -> FakeHost:
        """Start a host."""
        self.pythons.append(python)
        host = FakeHost(1_000 + len(self.hosts), max_memory_bytes)
        host.gpu = gpu
        self.prepare(host)
        self.hosts.append(host)
        self.spawned_at.append(asyncio.get_running_loop().time())
        return host


class FakeHeld:
    """An artifact that is held until it is released or garbage."""

    def __init__(self, path: Path, held: list[Path]) -> None:
        self.path = path
        held.append(path)
        self.release = weakref.finalize(self, held.remove, path)


class FakeArtifacts:
    """Has every artifact, and reads none."""

    def __init__(self) -> None:
        self.held: list[Path] = []

    def hold(self, sha256: str) -> FakeHeld:
        """Return where it would be, for as long as it is held."""
        return FakeHeld(Path(sha256), self.held)


def with_fake_hosts(context: Context, launcher: FakeLauncher) -> Context:
    """Have a context start fake hosts."""
    context.launcher = launcher  # type: ignore[assignment]
    context.artifacts = FakeArtifacts()  # type: ignore[assignment]
    return context


def does_not_load(host: FakeHost) -> None:
    """Have a host fail at its load."""
    host.load_error = HostStartFailed("no such model")
