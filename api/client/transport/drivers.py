"""The two drivers of flows, one that blocks and one on asyncio: all that sends or sleeps stands here."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import ExitStack
from functools import lru_cache
from typing import Any, TypeVar

import httpx

from api.client.errors import ServiceUnreachable
from api.client.steps import Answer, Emit, Flow, Lost, Pause, Request, Step, Take, Taken
from api.client.transport import settings, tracing

_T = TypeVar("_T")
_CONNECT_S = 5.0
#: An answer that takes longer than this, beside what the service was asked to hold it, doesn't come.
_READ_S = 30.0
_WRITE_S = 600.0
_NOTHING = object()


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """What certificates are checked against: read once for all clients of a program."""
    return httpx.create_ssl_context()


class Address:
    """Where the service is, and what is shown to it: as said, or as the environment says."""

    def __init__(self, url: str | None, api_key: str | None) -> None:
        environment = settings.load()
        self.url = (url or environment.service_url).rstrip("/")
        key = api_key if api_key is not None else environment.api_key
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    def arguments(self, request: Request, closing: ExitStack) -> dict[str, Any]:
        """Return a request as httpx takes it; what it opens is closed with `closing`."""
        # An artifact is checked and stored before it is answered.
        read_s = _WRITE_S if request.upload is not None else _READ_S + request.wait_s
        found: dict[str, Any] = {
            "method": request.method,
            "url": self.url + request.path,
            "params": dict(request.query),
            "headers": {**tracing.headers(), **request.headers},
            "timeout": httpx.Timeout(read_s, connect=_CONNECT_S, write=_WRITE_S),
        }
        if request.upload is not None:
            file = closing.enter_context(request.upload.opened())
            found["files"] = {"artifact": (request.upload.name, file, "application/octet-stream")}
            found["data"] = {"metadata": request.upload.metadata}
        elif request.content is not None:
            found["content"] = request.content
        return found

    def lost(self, error: httpx.TransportError) -> Lost:
        """Return the result of a request that failed with this error.

        Raises:
            ServiceUnreachable: no repetition helps.
        """
        if isinstance(error, httpx.UnsupportedProtocol):
            raise self.wrong(error) from error
        sent = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
        if isinstance(error, httpx.TimeoutException) and sent:
            return Lost(f"The service at {self.url} did not answer in time.", sent)
        return Lost(f"No service answers at {self.url} ({str(error) or type(error).__name__}).", sent)

    def wrong(self, error: Exception) -> ServiceUnreachable:
        """Return the error for a URL that is none."""
        return ServiceUnreachable(f"{self.url!r} is not a URL of a service: {error}")


class Driver:
    """Carries flows out, and blocks meanwhile; safe to use from many threads."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._http = httpx.Client(headers=address.headers, follow_redirects=False, verify=_certificates())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def run(self, flow: Flow[_T]) -> _T:
        """Carry a flow out; return what it returns."""
        reply = None
        try:
            while True:
                reply = self._reply(flow.send(reply))
        except StopIteration as end:
            result: _T = end.value
            return result

    def stream(self, flow: Flow[None], inputs: Iterable[Any]) -> Iterator[Any]:
        """Carry a flow out, giving it inputs and passing on what it emits."""
        source, reply = iter(inputs), None
        try:
            while True:
                step = flow.send(reply)
                if isinstance(step, Emit):
                    reply = None
                    yield step.value
                else:
                    reply = _taken(source, step) if isinstance(step, Take) else self._reply(step)
        except StopIteration:
            return
        finally:
            flow.close()

    def _reply(self, step: Step) -> Any:
        if isinstance(step, Pause):
            return time.sleep(step.seconds)
        assert isinstance(step, Request)  # noqa: S101 - the other steps are those of streams
        try:
            with ExitStack() as closing:
                answer = self._http.request(**self.address.arguments(step, closing))
        except httpx.TransportError as error:
            return self.address.lost(error)
        except httpx.InvalidURL as error:
            raise self.address.wrong(error) from error
        return Answer(self.address.url, answer.status_code, answer.headers, answer.content)


class AsyncDriver:
    """Does the same and awaits meanwhile."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._http = httpx.AsyncClient(headers=address.headers, follow_redirects=False, verify=_certificates())

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def run(self, flow: Flow[_T]) -> _T:
        """Carry a flow out; return what it returns."""
        reply = None
        try:
            while True:
                reply = await self._reply(flow.send(reply))
        except StopIteration as end:
            result: _T = end.value
            return result

    async def stream(self, flow: Flow[None], inputs: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
        """Carry a flow out, giving it inputs and passing on what it emits."""
        source = inputs.__aiter__() if isinstance(inputs, AsyncIterable) else iter(inputs)
        reply = None
        try:
            while True:
                step = flow.send(reply)
                if isinstance(step, Emit):
                    reply = None
                    yield step.value
                elif not isinstance(step, Take):
                    reply = await self._reply(step)
                elif isinstance(source, AsyncIterator):
                    reply = await _taken_async(source, step)
                else:
                    reply = _taken(source, step)
        except StopIteration:
            return
        finally:
            flow.close()

    async def _reply(self, step: Step) -> Any:
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        assert isinstance(step, Request)  # noqa: S101 - the other steps are those of streams
        try:
            with ExitStack() as closing:
                answer = await self._http.request(**self.address.arguments(step, closing))
        except httpx.TransportError as error:
            return self.address.lost(error)
        except httpx.InvalidURL as error:
            raise self.address.wrong(error) from error
        return Answer(self.address.url, answer.status_code, answer.headers, answer.content)


class _Taking:
    """Inputs that are being taken from a caller's source, until there are enough or they were waited for enough."""

    def __init__(self, wanted: Take) -> None:
        self._wanted = wanted
        self._ends_at = 0.0
        self.inputs: list[Any] = []

    def add(self, value: Any) -> Taken | None:
        """Add what the source gave; return what was taken if that is all for now."""
        if value is _NOTHING:
            return Taken(self.inputs, ended=True)
        self.inputs.append(value)
        now = time.monotonic()
        self._ends_at = self._ends_at or now + self._wanted.within_s
        if now >= self._ends_at or len(self.inputs) >= self._wanted.most:
            return Taken(self.inputs, ended=False)
        return None


def _taken(source: Iterator[Any], wanted: Take) -> Taken:
    taking = _Taking(wanted)
    while (taken := taking.add(next(source, _NOTHING))) is None:
        pass
    return taken


async def _taken_async(source: AsyncIterator[Any], wanted: Take) -> Taken:
    taking = _Taking(wanted)
    while (taken := taking.add(await _next_of(source))) is None:
        pass
    return taken


async def _next_of(source: AsyncIterator[Any]) -> Any:
    try:
        return await source.__anext__()
    except StopAsyncIteration:
        return _NOTHING
