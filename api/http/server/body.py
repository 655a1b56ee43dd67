"""The body of a request, as it comes to the event loop, and as threads read it.

A client that stops in the middle of one, or sends a byte now and then, is given up. Only the time that is spent on
waiting for the client counts, not the time that the reader takes.
"""

from __future__ import annotations

import asyncio
import io
import math
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from api.errors import BodyTooLarge, RequestMalformed, ServerBusy

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Where a request's environment has its body.
_KEY = "queuecast.body"
#: So much of each body counts for nothing: the number of connections bounds it.
_FREE_BYTES = 16 * 1024
#: How often overdue bodies are looked for: much cheaper than a timer for each of them.
_LOOK_S = 0.25
_STOPPED = "The body has stopped coming."
_SLOW = "The body comes too slowly."


@dataclass(frozen=True, slots=True)
class Patience:
    """How slowly bodies may come: nothing for `silence_s`, which also is the start that they have on the rate."""

    silence_s: float
    bytes_per_s: float


class Reading:
    """What the bodies of one event loop share: deadlines, and memory until their requests are checked."""

    def __init__(self, patience: Patience, most_held_bytes: int) -> None:
        self.patience = patience
        self._most_held_bytes = most_held_bytes
        self._held_bytes = 0
        self._ends_at: dict[Body, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, body: Body, ends_at: float) -> None:
        """Give a body up at this time (monotonic)."""
        self._ends_at[body] = ends_at
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def remove(self, body: Body) -> None:
        """Give it up no more."""
        del self._ends_at[body]

    def hold(self, count: int, of_which_own: int) -> None:
        """Note that so many more bytes are held. Raises ServerBusy if those of all bodies are too many."""
        self._held_bytes += count
        # One alone may have as many as its address takes.
        if self._held_bytes > max(self._most_held_bytes, of_which_own):
            raise ServerBusy

    def release(self, count: int) -> None:
        """Note that so many bytes are held no more."""
        self._held_bytes -= count

    def _look(self) -> None:
        now = time.monotonic()
        for body in [body for body, ends_at in self._ends_at.items() if ends_at <= now]:
            body.give_up()
        self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look) if self._ends_at else None


class Body:
    """The body of one request; read on the event loop by one task at a time.

    Attributes:
        length: how many bytes it has; None if only its end tells.
        proto: the request as Granian has it, until `close`.
    """

    __slots__ = (
        "_future", "_given_up", "_has_ended", "_held_bytes", "_hurried_until", "_reading", "_received", "_stream",
        "_waited_s", "length", "proto",
    )  # fmt: skip

    def __init__(self, proto: Any, environ: MutableMapping[str, Any], reading: Reading) -> None:
        environ[_KEY] = self
        self.proto = proto
        self._reading = reading
        self._stream: Any = None
        self._future: Any = None
        self._received = 0
        self._held_bytes = 0
        self._waited_s = 0.0
        self._hurried_until: float | None = None
        self._given_up = False
        chunked = "HTTP_TRANSFER_ENCODING" in environ
        # Granian has refused what is no number.
        self.length: int | None = None if chunked else int(environ.get("CONTENT_LENGTH") or 0)
        self._has_ended = self.length == 0

    async def read(self, most_bytes: int) -> bytes:
        """Return all of it.

        Raises:
            BodyTooLarge: it has more bytes than that.
            RequestMalformed: it was cut off, has stopped coming, or comes too slowly.
            ServerBusy: too much of other bodies is held at the moment.
        """
        if self.length is not None and self.length > most_bytes:
            raise BodyTooLarge(most_bytes)
        parts: list[bytes] = []
        while part := await self.chunk():
            parts.append(part)
            if self._received > most_bytes:
                raise BodyTooLarge(most_bytes)
            more = max(0, self._received - _FREE_BYTES) - self._held_bytes
            if more:
                self._held_bytes += more
                self._reading.hold(more, self._held_bytes)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def chunk(self) -> bytes:
        """Return what comes next; nothing at its end. Raises RequestMalformed as `read` does."""
        if self._has_ended:
            return b""
        if self._stream is None:
            self._stream = aiter(self.proto)
        part = await self._next()
        self._received += len(part)
        if part:
            self._has_ended = self._received == self.length
            return part
        if self.length is not None:
            raise RequestMalformed(f"The body has {self._received} bytes; its Content-Length says {self.length}.")
        # Granian shows the end and a lost connection by the same empty part; only after the end there is no other.
        try:
            self._stream.__anext__().cancel()
        except StopAsyncIteration:
            self._has_ended = True
            return b""
        raise RequestMalformed("The body is cut off, or has trailers, which are not read here.")

    def hurry(self, all_within_s: float) -> None:
        """Bound the time in which all of it has to come, whatever the rate."""
        self._hurried_until = time.monotonic() + all_within_s

    def close(self) -> None:
        """Let go of it: of the memory for what has come, and of what has not: that would keep its connection."""
        self._reading.release(self._held_bytes)
        self._held_bytes = 0
        self.proto = self._stream = self._future = None

    def give_up(self) -> None:
        """End the wait for what comes next."""
        self._given_up = True
        self._future.cancel()

    async def _next(self) -> bytes:
        began = time.monotonic()
        self._future = self._stream.__anext__()
        self._reading.add(self, self._given_up_at(began))
        try:
            part: bytes = await self._future
        except asyncio.CancelledError:
            if not self._given_up:
                raise  # the task itself was cancelled
            is_silent = time.monotonic() - began > self._reading.patience.silence_s / 2
            raise RequestMalformed(_STOPPED if is_silent else _SLOW) from None
        finally:
            self._reading.remove(self)
            self._waited_s += time.monotonic() - began
        return part

    def _given_up_at(self, now: float) -> float:
        """Return when to give up the wait that begins now."""
        silence_s = self._reading.patience.silence_s
        slow_at = now + silence_s + self._received / self._reading.patience.bytes_per_s - self._waited_s
        return min(now + silence_s, slow_at, self._hurried_until or math.inf)


class Incoming(io.RawIOBase):
    """A body as threads read it: each part is fetched from the event loop once it is asked for."""

    def __init__(self, body: Body, loop: asyncio.AbstractEventLoop) -> None:
        self._body = body
        self._loop = loop
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Tell that it is for reading."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read a part. Raises RequestMalformed if it was cut off, has stopped coming, or comes too slowly."""
        if not self._rest:
            self._rest = memoryview(asyncio.run_coroutine_threadsafe(self._body.chunk(), self._loop).result())
        view = memoryview(buffer).cast("B")
        part, self._rest = self._rest[: len(view)], self._rest[len(view) :]
        view[: len(part)] = part
        return len(part)


def hurry(environ: MutableMapping[str, Any], all_within_s: float) -> None:
    """Bound the time in which all of a request's body has to come; after it, reading raises RequestMalformed."""
    body = environ.get(_KEY)
    if isinstance(body, Body):
        body.hurry(all_within_s)
