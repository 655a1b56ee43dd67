"""Clients that only wait: what each costs the API in memory, and what all of them cost those who submit meanwhile."""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.figures.measurement import Measurement
from bench.load_client import HOST, Client, closed_loop, request
from bench.models import QUADRATIC, model_of
from bench.resources import pss_mib
from bench.scale import Scale
from bench.systems.queuecast import Queuecast

#: A deployment that never refuses a job.
_DEEP = f"{QUADRATIC}-deep"
_MOST = 10_000_000
_CLIENTS = 16
#: Longer than the whole figure: none of them ends before the worker continues.
_WAIT_S = 600
_LIMIT_S = 120.0
_LOOK_S = 0.02
#: How often submits are measured with and without them; the median counts.
_PAIRS = 3
_IDLE_S = 5.0
#: Connections that are opened at once; a listening socket holds not many more.
_AT_ONCE = 100
#: Jobs of a bulk submit.
_CHUNK = 1_000
#: Files that are for no held connection: those of the load, of Redis, of Python.
_OTHER_FILES = 1_000
_WAIT_ENDS, _STREAM_ENDS = b"HTTP/1.1 200", b"event: succeeded"


def held(folder: Path, pickles: Path, scale: Scale) -> Iterator[Measurement]:
    """Hold requests and streams on a service whose worker is stopped, and let it continue at the end."""
    del pickles
    with (
        _all_files(),
        _service(folder / "queuecast") as system,
        _service(folder / "quiet") as quiet,
        asyncio.Runner() as runner,
    ):
        measured = _Measured(system, quiet, scale, runner)
        with system.paused(), quiet.paused():
            yield from measured.holding()
        yield from measured.answered()


@contextmanager
def _service(folder: Path) -> Iterator[Queuecast]:
    with Queuecast(folder, [QUADRATIC], {"QUEUECAST_MAX_WAIT_S": str(_WAIT_S)}) as system:
        system.stack.deploy(QUADRATIC, endpoint_name=_DEEP, max_queue_length=_MOST)
        yield system


@contextmanager
def _standing_still(system: Queuecast) -> Iterator[None]:
    """Stop the API of a service (SIGSTOP), so that another one has the machine, until the block ends."""
    api = psutil.Process(system.stack.server.pid)
    api.suspend()
    try:
        yield
    finally:
        api.resume()


@contextmanager
def _all_files() -> Iterator[None]:
    """Let this process and those that it starts open as many files as the system permits."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def permitted(waits: int, streams: int, files: int) -> tuple[int, int]:
    """Return how many of both can be held with so many files, in the same proportion."""
    share = min(1.0, max(0, files - _OTHER_FILES) / (waits + streams))
    return int(waits * share), int(streams * share)


class _Held(asyncio.Protocol):
    """A connection that has sent its request, and keeps what comes."""

    def __init__(self, encoded: bytes) -> None:
        self.received = b""
        self.is_lost = False
        self._encoded = encoded

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._encoded)

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.is_lost = True


@dataclass
class _Group:
    """Connections of one kind, and what each of them has received once it is answered."""

    connections: list[_Held]
    end: bytes

    @property
    def answered(self) -> int:
        return sum(self.end in each.received for each in self.connections)

    @property
    def lost(self) -> int:
        return sum(each.is_lost and self.end not in each.received for each in self.connections)


class _Measured:
    """Yields the figure's measurements, first those while the worker stands still."""

    def __init__(self, system: Queuecast, quiet: Queuecast, scale: Scale, runner: asyncio.Runner) -> None:
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._waits, self._streams = permitted(scale.held_waits, scale.held_streams, files)
        self._system = system
        #: A service like it that holds nothing, for comparison.
        self._quiet = quiet
        self._seconds = scale.seconds
        self._warm_up_s = scale.warm_up_s
        self._runner = runner
        self._groups: list[_Group] = []

    def holding(self) -> Iterator[Measurement]:
        """Measure memory as both groups open, the processor time of holding them, and submits with and without them."""
        for system in (self._system, self._quiet):
            self._submits(system, self._warm_up_s)
        jobs = self._runner.run(_bulk(self._system, self._streams))
        before = self._kib()
        self._open(self._wait_requests(), _WAIT_ENDS, self._waits_are_held)
        with_waits = self._kib()
        yield self._measurement("waits", self._waits)
        yield self._measurement("wait_kib", (with_waits - before) / self._waits)
        self._open((request("GET", f"/jobs/{each}/events") for each in jobs), _STREAM_ENDS, self._streams_are_open)
        yield self._measurement("streams", self._streams)
        yield self._measurement("stream_kib", (self._kib() - with_waits) / self._streams)
        yield self._measurement("cpu", self._idle_ms_per_s())
        yield from self._compared()
        self._check()

    def _compared(self) -> Iterator[Measurement]:
        """Measure submits on both services, one after the other, alternately."""
        quiet, holding = [], []
        for _ in range(_PAIRS):
            with _standing_still(self._system):
                quiet.append(self._submits(self._quiet, self._seconds))
            with _standing_still(self._quiet):
                holding.append(self._submits(self._system, self._seconds))
        for name, found in (("_without", quiet), ("", holding)):
            yield self._measurement(f"submit{name}", statistics.median(rate for rate, _ in found))
            yield self._measurement(f"cpu_submit{name}", statistics.median(api_ms for _, api_ms in found))

    def _idle_ms_per_s(self) -> float:
        """Return the processor time of the API in each second in which all are held, and nothing else is to do."""
        meter, began = self._system.meter(), time.monotonic()
        self._runner.run(asyncio.sleep(_IDLE_S))
        return meter.used_ms()["api"] / (time.monotonic() - began)

    def answered(self) -> Iterator[Measurement]:
        """Measure the time until each of them has its answer."""
        began = time.monotonic()
        self._until(lambda: all(each.answered == len(each.connections) for each in self._groups), "answered")
        yield self._measurement("answer_s", time.monotonic() - began)
        for group in self._groups:
            for each in group.connections:
                each.transport.abort()

    @staticmethod
    def _measurement(name: str, value: float) -> Measurement:
        return Measurement(f"held_{name}", QUADRATIC, value, Queuecast.name)

    def _submits(self, system: Queuecast, seconds: float) -> tuple[float, float]:
        """Return submits in each second, and the API's processor time for each (ms)."""
        encoded = request("POST", f"/predict/{_DEEP}", model_of(_DEEP).body(), Content_Type="application/json")
        meter = system.meter()
        load = closed_loop(system.port, encoded, clients=_CLIENTS, seconds=seconds, status=202)
        found = self._runner.run(load).check()
        return found.rate_per_s, meter.used_ms()["api"] / len(found.latencies_s)

    def _kib(self) -> float:
        return pss_mib(self._system.stack.server.pid) * 1024

    def _wait_requests(self) -> Iterator[bytes]:
        headers = {"Content_Type": "application/json", "Prefer": f"wait={_WAIT_S}"}
        encoded = request("POST", f"/predict/{_DEEP}", model_of(_DEEP).body(), **headers)
        return (encoded for _ in range(self._waits))

    def _open(self, requests: Iterable[bytes], end: bytes, is_held: Callable[[_Group, int], bool]) -> None:
        queued = self._queued()
        group = _Group(self._runner.run(_connected(self._system.port, list(requests))), end)
        self._groups.append(group)
        self._until(lambda: is_held(group, queued), "held")

    def _waits_are_held(self, group: _Group, queued: int) -> bool:
        return self._queued() >= queued + len(group.connections)

    @staticmethod
    def _streams_are_open(group: _Group, _queued: int) -> bool:
        return all(b"event: queued" in each.received for each in group.connections)

    def _queued(self) -> int:
        with self._system.redis() as client:
            return int(client.llen(self._system.queue(_DEEP)))

    def _check(self) -> None:
        """Raise RuntimeError if one of them has ended already, or was never held."""
        waits, streams = self._groups
        early = [each.received for each in waits.connections if each.received]
        if early or waits.lost or streams.lost or streams.answered:
            counts = f"{waits.lost} requests, {streams.lost} streams"
            raise RuntimeError(f"{len(early)} requests were answered too early, lost: {counts}; {early[:1]!r:.300}")

    def _until(self, reached: Callable[[], bool], what: str) -> None:
        ends_at = time.monotonic() + _LIMIT_S
        while not reached():
            if time.monotonic() > ends_at:
                counts = [(each.answered, each.lost, len(each.connections)) for each in self._groups]
                raise RuntimeError(f"not all are {what} in {_LIMIT_S:.0f} s; answered, lost, of all: {counts}")
            self._runner.run(asyncio.sleep(_LOOK_S))


async def _connected(port: int, requests: list[bytes]) -> list[_Held]:
    places = asyncio.Semaphore(_AT_ONCE)

    async def connected(encoded: bytes) -> _Held:
        async with places:
            _, found = await asyncio.get_running_loop().create_connection(lambda: _Held(encoded), HOST, port)
            return found

    return await asyncio.gather(*map(connected, requests))


async def _bulk(system: Queuecast, count: int) -> list[str]:
    """Submit so many jobs; return their ids."""
    client, found = Client(system.port), []
    await client.connect()
    try:
        for start in range(0, count, _CHUNK):
            status, answer = await client.ask(system.bulk_request(_DEEP, min(_CHUNK, count - start)))
            if status != 202:
                raise RuntimeError(f"HTTP {status}: {answer[:300]!r}")
            found += json.loads(answer)["job_ids"]
    finally:
        client.close()
    return found
