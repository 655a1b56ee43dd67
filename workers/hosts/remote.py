"""A model host as its worker sees it."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from registry.output_columns import OutputDescription
from workers.errors import HostStartFailed, WorkerError
from workers.hosts import frames, processes
from workers.hosts.memory_watch import MemoryWatch
from workers.logs import LogFormat

_log = logging.getLogger(__name__)

#: Who has closed the channel is about to end; how it does so by itself says more than that it was killed.
_OWN_END_S = 1.0
#: A killed process that is still there after this long is stuck in the kernel; nothing can be done about it.
_END_TIMEOUT_S = 10
_MEBIBYTE = 1 << 20


class HostGone(WorkerError):
    """The host ended, or had to be ended, while the worker waited for its answer."""

    code = "host_gone"


class HostTooSlow(HostGone):
    """The host did not answer in time and was killed."""

    code = "host_too_slow"


class HostTooBig(HostGone):
    """The host used more memory than it may and was killed."""

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
    """What a host has to load; `path` is a verified local file."""

    path: str
    runtime: str
    runtime_options: dict[str, Any]
    signature: dict[str, Any]
    input_example: Any
    #: Whose host it is, for its log, and the form of that (`logs.LogFormat`).
    endpoint_name: str = ""
    log_format: str = LogFormat.TEXT


class RowError(msgspec.Struct, frozen=True):
    """What a model raised for one row."""

    type: str
    message: str


class Answer(msgspec.Struct, frozen=True):
    """One output, in JSON, for each row; `errors` has type and message for the index of each row that failed."""

    number: int
    outputs: list[Raw]
    errors: dict[int, RowError]
    predict_ms: float


class _Ready(msgspec.Struct, frozen=True):
    load_ms: float
    outputs: list[OutputDescription] | None
    example_ms: float | None = None


class _Loaded(msgspec.Struct, frozen=True):
    """The answer to a `LoadRequest`: the model is ready, or why it is not."""

    number: int
    ready: _Ready | None = None
    failed: str = ""


_Answer = TypeVar("_Answer", Answer, _Loaded)
_predicted = msgspec.json.Decoder(Answer)
_loaded = msgspec.json.Decoder(_Loaded)


class RemoteHost:
    """One host; one request at a time.

    Args:
        pid: of its process.
        reader: of the channel to it.
        writer: of the same.
        exited: done, with the exit status, once the process has ended.
        kill: kills the process, soon.
        max_memory_bytes: what it and its child processes may use (resident; what they share counts for
            each); None is no limit. More gets it killed.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - made in one place
        self,
        pid: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        exited: asyncio.Future[int],
        kill: Callable[[], None],
        max_memory_bytes: int | None = None,
    ) -> None:
        self.pid = pid
        self.load_ms: float | None = None
        #: What the model answers, as its input example shows; None if that is unknown.
        self.outputs: list[OutputDescription] | None = None
        #: How long the model took for its input example, if it has one.
        self.example_ms: float | None = None
        self.exited = exited
        self._reader = reader
        self._writer = writer
        self._kill = kill
        self._requests = 0
        self._memory = MemoryWatch(pid, max_memory_bytes, self._outgrown)
        #: Why the worker ended it; None if it didn't.
        self._killed_for: HostGone | None = None
        # Something that it has started may still hold the other end of the channel.
        exited.add_done_callback(lambda _: writer.transport.abort())

    @property
    def memory_bytes(self) -> int:
        """What it and its child processes use now."""
        return 0 if self.exited.done() else processes.memory_bytes(self.pid)

    @property
    def max_memory_bytes(self) -> int | None:
        """What it may use; can be set at any time."""
        return self._memory.limit_bytes

    @max_memory_bytes.setter
    def max_memory_bytes(self, limit_bytes: int | None) -> None:
        self._memory.limit_bytes = limit_bytes

    @property
    def how_it_ended(self) -> str:
        """Why the process is not there any more, e.g. "the model host was ended by SIGSEGV."."""
        if self._killed_for is not None:
            return str(self._killed_for)
        return f"the model host {_how(self.exited.result()) if self.exited.done() else 'does not end'}."

    async def load(self, request: LoadRequest, timeout_s: float) -> None:
        """Load the model and predict its example once.

        Raises:
            HostStartFailed: the model could not be loaded; the message says why.
        """
        try:
            answer = await self._ask(
                {
                    "path": request.path,
                    "runtime": request.runtime,
                    "runtime_options": request.runtime_options,
                    "signature": request.signature,
                    "input_example": request.input_example,
                    "endpoint_name": request.endpoint_name,
                    "log_format": request.log_format,
                },
                timeout_s,
                _loaded.decode,
            )
        except HostGone as error:
            raise HostStartFailed(f"While the model was being loaded, {error}") from error
        if answer.ready is None:
            raise HostStartFailed(answer.failed)
        self._memory.look()
        if self._killed_for is not None:
            await self.stop()
            raise HostStartFailed(f"With its model loaded, {self._killed_for}") from self._killed_for
        self.load_ms, self.outputs = answer.ready.load_ms, answer.ready.outputs
        self.example_ms = answer.ready.example_ms

    async def predict(self, rows: list[Any], max_batch_size: int, timeout_s: float) -> Answer:
        """Predict rows; the time is for all of them together, and for trying them one by one if a batch fails.

        Raises:
            HostTooSlow: no answer in `timeout_s`; the host was killed.
            HostTooBig: it used more than `max_memory_bytes` and was killed.
            HostGone: it died; the message says how.
        """
        answer = await self._ask({"rows": rows, "max_batch_size": max_batch_size}, timeout_s, _predicted.decode)
        self._memory.look()
        if self._killed_for is not None:
            await self.stop()  # the answer is good; the next rows need another host
        return answer

    def kill(self, reason: str) -> None:
        """End the process now; whoever waits for its answer is told that it is gone, and why."""
        self._killed_for = self._killed_for or HostGone(reason)
        self._kill()

    async def stop(self) -> None:
        """End the process, and wait until it has ended."""
        self._writer.close()
        if not self.exited.done():
            self._kill()
        try:
            await asyncio.wait_for(asyncio.shield(self.exited), _END_TIMEOUT_S)
        except TimeoutError:
            _log.error("model host %d was killed and does not end", self.pid)

    async def _ask(self, request: dict[str, Any], timeout_s: float, decode: Callable[[bytes], _Answer]) -> _Answer:
        self._requests += 1
        frame = frames.encode({"number": self._requests, **request})
        try:
            with self._memory:
                async with asyncio.timeout(timeout_s):
                    self._writer.write(frame)
                    await self._writer.drain()
                    answer = decode(await frames.read(self._reader))
            if answer.number != self._requests:
                raise ValueError("it answers what nobody has asked")  # noqa: TRY301 - as what can't be read
        except TimeoutError as error:
            reason = HostTooSlow(f"the model host did not answer within {timeout_s:g} s.")
            raise await self._stopped_for(reason) from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            await asyncio.wait([self.exited], timeout=_OWN_END_S)
            await self.stop()
            raise self._killed_for or HostGone(self.how_it_ended) from error
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            wrong = HostGone(f"the model host sent something that is no answer: {error}.")
            raise await self._stopped_for(wrong) from error
        return answer

    async def _stopped_for(self, reason: HostGone) -> HostGone:
        """Stop it; return why, which is the reason that came first."""
        self._killed_for = self._killed_for or reason
        await self.stop()
        return self._killed_for

    def _outgrown(self, used_bytes: int, limit_bytes: int) -> None:
        self._killed_for = self._killed_for or HostTooBig(used_bytes, limit_bytes)
        _log.warning("host %d is killed: %s", self.pid, self._killed_for)
        self._kill()


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:  # of the real-time signals only the first and the last have names
        name = f"signal {-status}"
    hint = " (perhaps out of memory)" if name == "SIGKILL" else ""
    return f"was ended by {name}{hint}"
