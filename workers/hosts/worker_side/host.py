"""A model host from the side of its worker: load, predict, stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from registry.signatures.output_columns import OutputDescription
from workers.errors import HostStartFailed, WorkerError
from workers.hosts import frames, processes
from workers.hosts.worker_side.memory_watch import MemoryWatch
from workers.platform import fast_json, logs

_log = logging.getLogger(__name__)

#: A host that has closed its channel is about to exit. Its own exit status says more than a kill.
_OWN_EXIT_TIMEOUT_S = 1.0
#: A killed process that still exists after this long is stuck in the kernel.
_EXIT_TIMEOUT_S = 10
_MEBIBYTE = 1 << 20


class HostGone(WorkerError):
    """The host exited or was killed before it answered."""

    code = "host_gone"


class HostTooSlow(HostGone):
    """The host did not answer in time and was killed."""

    code = "host_too_slow"


class HostTooBig(HostGone):
    """The host exceeded its memory limit and was killed."""

    code = "host_too_big"

    def __init__(self, used_bytes: int, max_memory_bytes: int) -> None:
        super().__init__(
            f"the model host used {used_bytes / _MEBIBYTE:.0f} MiB of memory, "
            f"more than the {max_memory_bytes / _MEBIBYTE:.0f} MiB of max_memory_mb."
        )
        self.used_bytes = used_bytes
        self.max_memory_bytes = max_memory_bytes


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """The model that a host loads; `path` is a verified local file."""

    path: str
    runtime: str
    runtime_options: dict[str, Any]
    signature: dict[str, Any]
    input_example: Any
    #: The endpoint's name for the host's log, and the log format (`logs.TEXT` or `logs.JSON`).
    endpoint_name: str = ""
    log_format: str = logs.TEXT
    #: What `ps` shows of the host.
    title: str = ""


class RowError(msgspec.Struct, frozen=True):
    """The error of one row."""

    type: str
    message: str
    #: The last lines of the traceback of the model's code; "" if there is none.
    traceback: str = ""


class Answer(msgspec.Struct, frozen=True):
    """The outputs of the rows as JSON; `errors` has the error of each failed row by its index."""

    number: int
    outputs: list[Raw]
    errors: dict[int, RowError]
    predict_ms: float


class _Ready(msgspec.Struct, frozen=True):
    load_ms: float
    outputs: list[OutputDescription] | None
    example_ms: float | None = None
    warnings: list[str] = []


class _Loaded(msgspec.Struct, frozen=True):
    """The answer to a `LoadRequest`: the model is ready, or the reason of the failure."""

    number: int
    ready: _Ready | None = None
    failed: str = ""


_Answer = TypeVar("_Answer", Answer, _Loaded)
_predicted = msgspec.json.Decoder(Answer)
_loaded = msgspec.json.Decoder(_Loaded)


class RemoteHost:
    """One host, which handles one request at a time.

    Args:
        pid: the process id.
        reader: reads from the channel to the host.
        writer: writes to the channel.
        exited: done, with the exit status, once the process has exited.
        kill: requests the kill of the process.
        max_memory_bytes: limit on the resident memory of the host and its child processes (shared memory counts for
            each); None is no limit. The worker kills a host that exceeds it.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - constructed in one place
        self,
        pid: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        exited: asyncio.Future[int],
        kill: Callable[[], None],
        max_memory_bytes: int | None = None,
    ) -> None:
        self.pid = pid
        #: The GPU that it sees; None for none.
        self.gpu: str | None = None
        self.load_ms: float | None = None
        #: The model's outputs, as determined from its input example; None if unknown.
        self.outputs: list[OutputDescription] | None = None
        #: The duration of predicting the input example, if the model has one.
        self.example_ms: float | None = None
        #: Warnings of the model's libraries about the versions that it was made with.
        self.warnings: list[str] = []
        self.exited = exited
        self._reader = reader
        self._writer = writer
        self._kill = kill
        self._request_number = 0
        self._memory = MemoryWatch(pid, max_memory_bytes, self._outgrown)
        #: Why the worker killed it; None if it didn't.
        self._killed_for: HostGone | None = None
        # A child process of the host may still hold the other end of the channel.
        exited.add_done_callback(lambda _: writer.transport.abort())

    @property
    def memory_bytes(self) -> int:
        """The memory that it and its child processes use."""
        return 0 if self.exited.done() else processes.memory_bytes(self.pid)

    @property
    def max_memory_bytes(self) -> int | None:
        """The memory limit; can be set at any time."""
        return self._memory.limit_bytes

    @max_memory_bytes.setter
    def max_memory_bytes(self, limit_bytes: int | None) -> None:
        self._memory.limit_bytes = limit_bytes

    @property
    def how_it_ended(self) -> str:
        """Why the process has exited, e.g. "the model host was killed by SIGSEGV."."""
        if self._killed_for is not None:
            return str(self._killed_for)
        return f"the model host {_describe_exit(self.exited.result()) if self.exited.done() else 'does not exit'}."

    async def load(self, request: LoadRequest, timeout_s: float) -> None:
        """Load the model and predict its example once.

        Raises:
            HostStartFailed: loading failed; the message gives the reason.
        """
        try:
            answer = await self._request(
                {
                    "path": request.path,
                    "runtime": request.runtime,
                    "runtime_options": request.runtime_options,
                    "signature": request.signature,
                    "input_example": request.input_example,
                    "endpoint_name": request.endpoint_name,
                    "log_format": request.log_format,
                    "title": request.title,
                },
                timeout_s,
                _loaded.decode,
            )
        except HostGone as error:
            raise HostStartFailed(f"While loading the model, {error}") from error
        if answer.ready is None:
            raise HostStartFailed(answer.failed)
        self._memory.check()
        if self._killed_for is not None:
            await self.stop()
            raise HostStartFailed(f"After loading the model, {self._killed_for}") from self._killed_for
        self.load_ms, self.outputs = answer.ready.load_ms, answer.ready.outputs
        self.example_ms, self.warnings = answer.ready.example_ms, answer.ready.warnings

    async def predict(self, rows: list[Any], max_batch_size: int, timeout_s: float) -> Answer:
        """Predict rows; the time limit includes predicting them one by one if a batch fails.

        Raises:
            HostTooSlow: no answer in `timeout_s`; the host was killed.
            HostTooBig: it exceeded `max_memory_bytes` and was killed.
            HostGone: it exited; the message gives the exit status.
        """
        answer = await self._request({"rows": rows, "max_batch_size": max_batch_size}, timeout_s, _predicted.decode)
        self._memory.check()
        if self._killed_for is not None:
            await self.stop()  # the answer is good; the next rows need another host
        return answer

    def set_nice(self, niceness: int) -> bool:
        """Set the niceness of all its threads; False if the operating system refuses."""
        try:
            processes.set_niceness(self.pid, niceness)
        except OSError as error:
            _log.info("the niceness of model host %d stays as it is: %s", self.pid, error)
            return False
        return True

    def kill(self, reason: str) -> None:
        """Kill the process; a pending request fails with this reason."""
        self._killed_for = self._killed_for or HostGone(reason)
        self._kill()

    async def stop(self) -> None:
        """Kill the process and wait until it has exited."""
        self._writer.close()
        if not self.exited.done():
            self._kill()
        try:
            await asyncio.wait_for(asyncio.shield(self.exited), _EXIT_TIMEOUT_S)
        except TimeoutError:
            _log.error("model host %d was killed but does not exit", self.pid)

    async def _request(self, request: dict[str, Any], timeout_s: float, decode: Callable[[bytes], _Answer]) -> _Answer:
        self._request_number += 1
        frame = frames.framed(fast_json.dumps_strict({"number": self._request_number, **request}))
        try:
            with self._memory:
                async with asyncio.timeout(timeout_s):
                    self._check_open()
                    self._writer.write(frame)
                    await self._writer.drain()
                    answer = decode(await frames.read(self._reader))
            if answer.number != self._request_number:
                raise ValueError("it is the answer to another request")  # noqa: TRY301 - handled like an unreadable answer
        except TimeoutError as error:
            reason = HostTooSlow(f"the model host did not answer within {timeout_s:g} s.")
            raise await self._stop_for(reason) from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            await asyncio.wait([self.exited], timeout=_OWN_EXIT_TIMEOUT_S)
            await self.stop()
            raise self._killed_for or HostGone(self.how_it_ended) from error
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            wrong = HostGone(f"the model host sent an invalid answer: {error}.")
            raise await self._stop_for(wrong) from error
        return answer

    def _check_open(self) -> None:
        if self._writer.is_closing():  # a write to uvloop's transport would raise RuntimeError
            raise ConnectionResetError("the channel to the model host is closed")

    async def _stop_for(self, reason: HostGone) -> HostGone:
        """Stop the host; return the first reason."""
        self._killed_for = self._killed_for or reason
        await self.stop()
        return self._killed_for

    def _outgrown(self, used_bytes: int, limit_bytes: int) -> None:
        self._killed_for = self._killed_for or HostTooBig(used_bytes, limit_bytes)
        _log.warning("killing model host %d: %s", self.pid, self._killed_for)
        self._kill()


def _describe_exit(status: int) -> str:
    if status >= 0:
        return f"exited with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:  # only the first and the last real-time signal have names
        name = f"signal {-status}"
    hint = " (perhaps out of memory)" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"
