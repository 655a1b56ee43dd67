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
#: How often overdue bodies are looked for: much cheaper than a timer for each of them.
_LOOK_S = 0.25
_STOPPED = "The body has stopped coming."
_SLOW = "The body comes too slowly."


@dataclass(frozen=True, slots=True)
class Patience:
    """How slowly bodies may come: nothing for `silence_s`, which also is the start that they have on the rate."""

    silence_s: float
    bytes_per_s: float


class Deadlines:
    """Gives up the bodies that are overdue; of one event loop."""

    def __init__(self) -> None:
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

    def _look(self) -> None:
        now = time.monotonic()
        for body in [body for body, ends_at in self._ends_at.items() if ends_at <= now]:
            body.give_up()
        self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look) if self._ends_at else None


class Room:
    """The memory for all bodies that are read as a whole; of one event loop."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._taken_bytes = 0

    def take(self, size_bytes: int) -> None:
        """Take memory for a part. Raises ServerBusy if there is no room for it."""
        if self._taken_bytes + size_bytes > self._most_bytes:
            raise ServerBusy
        self._taken_bytes += size_bytes

    def give_back(self, size_bytes: int) -> None:
        """Give memory back."""
        self._taken_bytes -= size_bytes


class Body:
    """The body of one request; read on the event loop by one task at a time.

    Attributes:
        length: how many bytes it has; None if only its end tells.
    """

    __slots__ = (
        "_deadlines", "_future", "_given_up", "_has_ended", "_held_bytes", "_hurried_until", "_patience", "_proto",
        "_received", "_room", "_stream", "_waited_s", "length",
    )  # fmt: skip

    def __init__(
        self, proto: Any, environ: MutableMapping[str, Any], patience: Patience, deadlines: Deadlines, room: Room
    ) -> None:
        environ[_KEY] = self
        self._room = room
        self._held_bytes = 0
        self._proto = proto
        self._patience = patience
        self._deadlines = deadlines
        self._stream: Any = None
        self._future: Any = None
        self._received = 0
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
            ServerBusy: the bodies of other requests take all the memory that bodies may take.
        """
        if self.length is not None and self.length > most_bytes:
            raise BodyTooLarge(most_bytes)
        parts = [await self._held_chunk()]
        while not self._has_ended:
            if self._received > most_bytes:
                raise BodyTooLarge(most_bytes)
            parts.append(await self._held_chunk())
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def chunk(self) -> bytes:
        """Return what comes next; nothing at its end. Raises RequestMalformed as `read` does."""
        if self._has_ended:
            return b""
        if self._stream is None:
            self._stream = aiter(self._proto)
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
        """Let go of what has come, and of what has not: else its connection would be kept after the answer."""
        self._room.give_back(self._held_bytes)
        self._held_bytes = 0
        self._proto = self._stream = self._future = None

    def give_up(self) -> None:
        """End the wait for what comes next."""
        self._given_up = True
        self._future.cancel()

    async def _held_chunk(self) -> bytes:
        part = await self.chunk()
        self._room.take(len(part))
        self._held_bytes += len(part)
        return part

    async def _next(self) -> bytes:
        began = time.monotonic()
        self._future = self._stream.__anext__()
        self._deadlines.add(self, self._given_up_at(began))
        try:
            part: bytes = await self._future
        except asyncio.CancelledError:
            if not self._given_up:
                raise  # the task itself was cancelled
            is_silent = time.monotonic() - began > self._patience.silence_s / 2
            raise RequestMalformed(_STOPPED if is_silent else _SLOW) from None
        finally:
            self._deadlines.remove(self)
            self._waited_s += time.monotonic() - began
        return part

    def _given_up_at(self, now: float) -> float:
        """Return when to give up the wait that begins now."""
        silence_s = self._patience.silence_s
        slow_at = now + silence_s + self._received / self._patience.bytes_per_s - self._waited_s
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
