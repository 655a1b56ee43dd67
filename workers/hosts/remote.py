"""A model host as its worker sees it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from workers.errors import HostStartFailed, WorkerError
from workers.hosts import frames

#: A killed process that is still there after this long is stuck in the kernel; nothing can be done about it.
_END_TIMEOUT_S = 10


class HostGone(WorkerError):
    """The host ended, or had to be ended, while the worker waited for its answer."""

    code = "host_gone"


class HostTooSlow(HostGone):
    """The host did not answer in time and was killed."""

    code = "host_too_slow"


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What a host has to load; `path` is a verified local file."""

    path: str
    runtime: str
    runtime_options: dict[str, Any]
    signature: dict[str, Any]
    input_example: Any


@dataclass(frozen=True, slots=True)
class Answer:
    """One output for each row; `errors` has type and message for the index of each row that failed."""

    outputs: list[Any]
    errors: dict[int, dict[str, str]]
    predict_ms: float


class RemoteHost:
    """One host; one request at a time."""

    def __init__(
        self,
        pid: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        exited: asyncio.Future[int],
        kill: Callable[[], None],
    ) -> None:
        self.pid = pid
        self.load_ms: float | None = None
        self.memory_bytes = 0
        #: Done, with the exit status, once the process has ended.
        self.exited = exited
        self._reader = reader
        self._writer = writer
        self._kill = kill

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
                },
                timeout_s,
            )
        except HostGone as error:
            raise HostStartFailed(f"While the model was being loaded, {error}") from error
        if "failed" in answer:
            raise HostStartFailed(answer["failed"])
        self.load_ms = answer["ready"]["load_ms"]
        self.memory_bytes = answer["ready"]["memory_bytes"]

    async def predict(self, rows: list[Any], max_batch_size: int, timeout_s: float) -> Answer:
        """Predict rows.

        Raises:
            HostTooSlow: no answer in `timeout_s`; the host was killed.
            HostGone: the host died; the message says how.
        """
        answer = await self._ask({"rows": rows, "max_batch_size": max_batch_size}, timeout_s)
        errors = {int(index): error for index, error in answer["errors"].items()}
        return Answer(answer["outputs"], errors, answer["predict_ms"])

    async def stop(self) -> None:
        """End the process, and wait until it has ended."""
        self._writer.close()
        self._kill()
        await asyncio.wait_for(asyncio.shield(self.exited), _END_TIMEOUT_S)

    async def _ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(timeout_s):
                self._writer.write(frames.encode(request))
                await self._writer.drain()
                answer: dict[str, Any] = await frames.read(self._reader)
                return answer
        except TimeoutError as error:
            await self.stop()
            raise HostTooSlow(f"the model host did not answer within {timeout_s:g} s.") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            await self.stop()
            raise HostGone(f"the model host {_how(self.exited.result())}.") from error


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    name = signal.Signals(-status).name
    hint = " (perhaps out of memory)" if name == "SIGKILL" else ""
    return f"was ended by {name}{hint}"
