"""HTTP load from one process, as cheap as Python allows: raw keep-alive connections on asyncio.

The clients share the machine with what they measure, so each request is encoded once and of an answer no more is
parsed than its status and its body.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

HOST = "127.0.0.1"
#: Longer than any wait that is asked for: a longer answer is an error, and a bench ends whatever a server does.
ANSWER_LIMIT_S = 40.0
#: Requests that an open loop has under way at most; more of them count as errors.
OPEN_LOOP_LIMIT = 600
#: How long a client that polls waits before its first look; each further pause is so many times longer, up to a most.
#: With 20 ms as the most, looks took two thirds of the processor time of a slow system.
_FIRST_LOOK_S, _SLOWER, _LAST_LOOK_S = 0.001, 1.3, 0.05
_ACCEPTED = 202
_END_OF_HEAD = b"\r\n\r\n"


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Return the bytes of one request; `content_type="…"` becomes the header Content-Type."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def parsed(received: bytes) -> tuple[int, bytes] | None:
    """Return status and body of an answer, None while some of it has not come."""
    end = received.find(_END_OF_HEAD)
    if end < 0:
        return None
    head, body = received[:end].lower(), received[end + len(_END_OF_HEAD) :]
    at = head.find(b"content-length:")
    if at >= 0:
        length = int(head[at + len(b"content-length:") :].split(b"\r\n", 1)[0])
        content = body[:length] if len(body) >= length else None
    else:
        content = _chunks(body)
    return None if content is None else (int(head[9:12]), content)


def _chunks(body: bytes) -> bytes | None:
    content, at = b"", 0
    while (end := body.find(b"\r\n", at)) >= 0:
        size = int(body[at:end], 16)
        at = end + 2 + size + 2
        if at > len(body):
            return None
        if size == 0:
            return content
        content += body[end + 2 : at - 2]
    return None


class _Exchange(asyncio.Protocol):
    """One connection's side of the event loop; one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        found = parsed(self._received)
        if found is not None:
            self._received = b""
            if self.answer is not None and not self.answer.done():
                self.answer.set_result(found)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(exc or ConnectionResetError("the server closed the connection"))


class Client:
    """One keep-alive connection that speaks as much HTTP/1.1 as is needed here."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._exchange = _Exchange()

    async def connect(self) -> None:
        """Open the connection (anew)."""
        loop = asyncio.get_running_loop()
        _, self._exchange = await loop.create_connection(_Exchange, HOST, self._port)

    async def ask(self, encoded: bytes) -> tuple[int, bytes]:
        """Send one request and return status and body.

        Raises:
            OSError: the connection is lost, or no answer came in `ANSWER_LIMIT_S`.
        """
        exchange = self._exchange
        assert exchange.transport is not None
        exchange.answer = asyncio.get_running_loop().create_future()
        exchange.transport.write(encoded)
        async with asyncio.timeout(ANSWER_LIMIT_S):
            return await exchange.answer

    def close(self) -> None:
        """Drop the connection."""
        if self._exchange.transport is not None:
            self._exchange.transport.abort()


@dataclass(frozen=True)
class Polled:
    """A job whose client submits it and then looks until it has ended.

    Attributes:
        submit: the request.
        look: returns the request that looks, from the answer to the submit.
        has_ended: tells from the answer to a look whether it was the last.
    """

    submit: bytes
    look: Callable[[bytes], bytes]
    has_ended: Callable[[bytes], bool]

    async def done_by(self, client: Client) -> tuple[int, bytes]:
        """Submit, and look; return status and body of the last answer. Raises OSError as `Client.ask` does."""
        status, answer = await client.ask(self.submit)
        if status != _ACCEPTED:
            return status, answer
        look, pause_s = self.look(answer), _FIRST_LOOK_S
        while True:
            await asyncio.sleep(pause_s)
            status, answer = await client.ask(look)
            if status != 200 or self.has_ended(answer):
                return status, answer
            pause_s = min(pause_s * _SLOWER, _LAST_LOOK_S)


#: What a client does, again and again: one request, or a job with looks at it.
Doing = bytes | Polled


@dataclass
class Load:
    """What the clients saw."""

    latencies_s: list[float] = field(default_factory=list)
    errors: int = 0
    #: What was wrong the first time.
    first_error: str = ""
    #: The length of the measured stretch, and how many answers came in it.
    seconds: float = 0.0
    answers: int = 0

    @property
    def rate_per_s(self) -> float:
        """Answers in each second."""
        return self.answers / self.seconds

    def quantile_ms(self, percent: int) -> float:
        """Return a percentile of the latencies, nan of fewer than two."""
        if len(self.latencies_s) < 2:
            return float("nan")
        return statistics.quantiles(self.latencies_s, n=100, method="inclusive")[percent - 1] * 1000

    def failed(self, what: str) -> None:
        """Count an error."""
        self.errors += 1
        self.first_error = self.first_error or what

    def check(self) -> Load:
        """Return itself. Raises RuntimeError if more than one in a hundred requests went wrong, or all did."""
        if self.errors * 100 > len(self.latencies_s) or not self.latencies_s:
            total = self.errors + len(self.latencies_s)
            raise RuntimeError(f"{self.errors} of {total} requests went wrong, such as: {self.first_error}")
        return self


async def closed_loop(  # noqa: PLR0913 - what makes a load, each by name
    port: int, encoded: Doing, *, clients: int, seconds: float, status: int, requests: int | None = None
) -> Load:
    """Let clients send one request after the other for so long, or until so many are sent."""
    load = Load()
    began = time.monotonic()
    until = began + seconds
    left = [requests if requests is not None else -1]
    await asyncio.gather(*(_one_client(port, encoded, until, status, load, left) for _ in range(clients)))
    load.seconds = seconds if requests is None else max(time.monotonic() - began, 1e-9)
    return load


async def _one_client(  # noqa: PLR0913, PLR0917 - as above
    port: int, encoded: Doing, until: float, status: int, load: Load, left: list[int]
) -> None:
    client = Client(port)
    try:
        await client.connect()
        while (began := time.monotonic()) < until and left[0] != 0:
            left[0] -= 1
            try:
                if await _timed(client, encoded, began, status, load) < until:
                    load.answers += 1
            except OSError as error:  # a timeout is one
                load.failed(repr(error))
                client.close()
                await client.connect()
    except OSError as error:
        load.failed(repr(error))
    finally:
        client.close()


async def _timed(client: Client, encoded: Doing, began: float, status: int, load: Load) -> float:
    found, answer = await (encoded.done_by(client) if isinstance(encoded, Polled) else client.ask(encoded))
    ended = time.monotonic()
    if found == status:
        load.latencies_s.append(ended - began)
    else:
        load.failed(f"HTTP {found}: {answer[:300]!r}")
    return ended


async def open_loop(port: int, encoded: Doing, *, rate_per_s: float, seconds: float, status: int) -> Load:
    """Send requests at a steady rate, whatever becomes of them; a latency counts from when its request was due."""
    load = Load(seconds=seconds)
    idle: list[Client] = []
    running: set[asyncio.Task[None]] = set()

    async def send(due: float) -> None:
        client = idle.pop() if idle else Client(port)
        try:
            if client._exchange.transport is None:  # noqa: SLF001 - a new one
                await client.connect()
            await _timed(client, encoded, due, status, load)
            idle.append(client)
        except OSError as error:
            load.failed(repr(error))
            client.close()

    began = time.monotonic()
    for number in range(int(rate_per_s * seconds)):
        due = began + number / rate_per_s
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if len(running) >= OPEN_LOOP_LIMIT:
            load.failed(f"{OPEN_LOOP_LIMIT} requests were under way already")
            continue
        task = asyncio.create_task(send(due))
        running.add(task)
        task.add_done_callback(running.discard)
    if running:
        await asyncio.wait(running)
    for client in idle:
        client.close()
    load.answers = len(load.latencies_s)
    return load


def until_answered(load: Callable[[], object], timeout_s: float) -> None:
    """Call until it raises no OSError or RuntimeError any more; the last one is raised after `timeout_s`."""
    ends_at = time.monotonic() + timeout_s
    while True:
        try:
            load()
        except (OSError, RuntimeError):
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.05)
        else:
            return
