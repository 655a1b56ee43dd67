"""Sends one signed webhook to an allowed target. Knows nothing of jobs, retries or logs.

The connection goes to an address that the allow-list has checked, with TLS, and one deadline covers the whole call.
"""

from __future__ import annotations

import math
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import NoReturn

import httpcore

from workers.errors import TargetUnreachable
from workers.platform.http_url import Target
from workers.platform.release import release
from workers.webhooks.allowlist import Allowlist
from workers.webhooks.signing import signature

EXCERPT_BYTES = 4_096
#: Limit on an answer with its headers; below h11's own limit on headers (100 KiB), so that this one decides.
_MOST_ANSWER_BYTES = 65_536
_LONGEST_RETRY_AFTER_S = 86_400
_Headers = dict[str | bytes, str | bytes]

#: Returns the addresses of a host; raises `OSError` as `socket.getaddrinfo` does.
Resolver = Callable[[str, int], Sequence[str]]
#: At most so many addresses are tried, each for a share of the time.
_MOST_ADDRESSES = 4
_EXPIRED, _UNKNOWN_AUTHORITY, _OTHER_NAME = (10,), (18, 19, 20, 21), (62, 64)
_NO_ADDRESS = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


@lru_cache(maxsize=1)
def system_tls() -> ssl.SSLContext:
    """Return a TLS context that trusts the authorities of this machine, or those of `SSL_CERT_FILE`."""
    return ssl.create_default_context()


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a host from the machine's resolver."""
    return [str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True, slots=True)
class Network:
    """The resolver and the TLS context to use."""

    resolve: Resolver = look_up
    tls: Callable[[], ssl.SSLContext] = system_tls


class Deadline:
    """The time limit of a whole call, from now on."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._started_at = time.monotonic()

    def elapsed_s(self) -> float:
        """Return the elapsed time."""
        return time.monotonic() - self._started_at

    def left_s(self) -> float:
        """Return the remaining time.

        Raises:
            TimeoutError: no time is left.
        """
        left = self.timeout_s - self.elapsed_s()
        if left <= 0:
            raise TimeoutError
        return left


def connect(target: Target, allowlist: Allowlist, network: Network, deadline: Deadline) -> tuple[socket.socket, str]:
    """Resolve a host once, check all its addresses, and return a connection to one of them, with its address.

    Raises:
        TargetRefused: one of its addresses is refused.
        TargetUnreachable: the host has no address, or none accepts a connection.
    """
    addresses = [target.address] if target.address else _addresses(target, network.resolve, deadline)
    for address in addresses:
        allowlist.check_address(address)
    connection, address = _connect_to_first(addresses[:_MOST_ADDRESSES], target, deadline)
    if target.scheme == "https":
        return _with_tls(connection, target, network.tls(), deadline), address
    return connection, address


def _addresses(target: Target, resolve: Resolver, deadline: Deadline) -> list[str]:
    """Resolve a host in a thread of its own, since the machine's resolver has no time limit."""
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def resolve_host() -> None:
        try:
            answers.put(list(dict.fromkeys(resolve(target.host, target.port))))
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            answers.put(error)

    threading.Thread(target=resolve_host, name=f"resolver of {target.host}", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.left_s())
    except (queue.Empty, TimeoutError):
        raise TargetUnreachable(f"Resolving {target.host} took longer than {deadline.timeout_s:g} s.") from None
    if isinstance(answer, Exception):
        _raise_resolver_error(target.host, answer)
    if not answer:
        raise TargetUnreachable(f"{target.host} has no address.")
    return answer


def _raise_resolver_error(host: str, error: Exception) -> NoReturn:
    if isinstance(error, socket.gaierror) and error.errno in _NO_ADDRESS:
        raise TargetUnreachable(f"{host} has no address.") from error
    if isinstance(error, OSError | UnicodeError):
        raise TargetUnreachable(f"{host} can't be resolved: DNS doesn't answer.") from error
    raise error


def _connect_to_first(addresses: list[str], target: Target, deadline: Deadline) -> tuple[socket.socket, str]:
    last_error: OSError | None = None
    for index, address in enumerate(addresses):
        try:
            share_s = deadline.left_s() / (len(addresses) - index)
            return socket.create_connection((address, target.port), share_s), address
        except OSError as error:
            last_error = error
    if isinstance(last_error, ConnectionRefusedError):
        raise TargetUnreachable(f"{target.host} refuses connections on port {target.port}.") from last_error
    if isinstance(last_error, TimeoutError):
        raise TargetUnreachable(
            f"{target.host} accepted no connection on port {target.port} within {deadline.timeout_s:g} s."
        ) from last_error
    raise TargetUnreachable(f"{target.host} can't be reached on port {target.port}: no route.") from last_error


def _with_tls(connection: socket.socket, target: Target, tls: ssl.SSLContext, deadline: Deadline) -> ssl.SSLSocket:
    try:
        connection.settimeout(deadline.left_s())
        return tls.wrap_socket(connection, server_hostname=target.host)
    except OSError as error:
        connection.close()
        raise TargetUnreachable(_tls_reason(target.host, error, deadline)) from error


def _tls_reason(host: str, error: OSError, deadline: Deadline) -> str:
    if isinstance(error, TimeoutError):
        return f"The TLS handshake with {host} took longer than {deadline.timeout_s:g} s."
    if not isinstance(error, ssl.SSLCertVerificationError):
        return f"{host} doesn't support TLS on this port, or no secure version of it."
    if error.verify_code in _EXPIRED:
        return f"The certificate of {host} has expired."
    if error.verify_code in _UNKNOWN_AUTHORITY:
        return f"The certificate of {host} is from an authority that this machine doesn't trust (see SSL_CERT_FILE)."
    if error.verify_code in _OTHER_NAME:
        return f"The certificate of {host} is for another name."
    return f"The certificate of {host} is not valid."


class AnswerTooLong(Exception):
    """An answer is longer than the limit."""


class Stream(httpcore.NetworkStream):
    """A connection for httpcore, with a deadline and a limit on received bytes.

    httpcore's own time limits apply to each read; a server that sends a byte now and then never exceeds them.

    Attributes:
        received_bytes: bytes received so far.
    """

    def __init__(self, connection: socket.socket, deadline: Deadline, most_bytes: int) -> None:
        self.received_bytes = 0
        self._connection = connection
        self._deadline = deadline
        self._most_bytes = most_bytes

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the deadline counts
        """Return received data, at most `max_bytes`.

        Raises:
            AnswerTooLong: the limit on received bytes is reached.
            OSError: the connection is lost, or the deadline has passed.
        """
        if self.received_bytes >= self._most_bytes:
            raise AnswerTooLong
        self._connection.settimeout(self._deadline.left_s())
        found = self._connection.recv(min(max_bytes, self._most_bytes - self.received_bytes))
        self.received_bytes += len(found)
        return found

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the deadline counts
        """Send everything, piece by piece: `sendall` of TLS gives each piece the whole time.

        Raises:
            httpcore.WriteError: the other side has closed; there may be an answer nevertheless.
            OSError: the deadline has passed.
        """
        rest = memoryview(buffer)
        while rest:
            self._connection.settimeout(self._deadline.left_s())
            try:
                rest = rest[self._connection.send(rest) :]
            except ConnectionError as error:
                raise httpcore.WriteError from error

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


_NETWORK = Network()


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a receiver.

    Attributes:
        status: HTTP status. 2xx is a success, anything else a failure, also 3xx: redirects are not followed.
        body_excerpt: the beginning of the body, as text.
        duration_ms: duration of the whole call.
        address: address of the connection.
        retry_after_s: value of `Retry-After`, at most a day; None without one.
    """

    status: int
    body_excerpt: str
    duration_ms: float
    address: str
    retry_after_s: int | None


def post(  # noqa: PLR0913, PLR0917 - each differs between calls or between services
    url: str,
    message_id: str,
    body: bytes,
    secrets: tuple[bytes, ...],
    allowlist: Allowlist,
    timeout_s: float,
    *,
    network: Network = _NETWORK,
) -> Answer:
    """Sign a JSON document, post it, and return the answer, whatever its status, within `timeout_s`.

    Only the status counts: an answer's body that is too long, too slow or incomplete only shortens the excerpt.

    Raises:
        TargetRefused: the allow-list refuses the URL or an address of its host; nothing was sent.
        TargetUnreachable: there was no answer; the message gives the reason.
    """
    deadline = Deadline(timeout_s)
    target = allowlist.check_url(url)
    headers = _headers(target, message_id, body, secrets)
    connection, address = connect(target, allowlist, network, deadline)
    stream = Stream(connection, deadline, _MOST_ANSWER_BYTES)
    try:
        response = _answer(target, headers, body, stream, deadline)
        excerpt = _excerpt(response.iter_stream())
    finally:
        stream.close()
    duration_ms = round(deadline.elapsed_s() * 1_000, 3)
    return Answer(response.status, excerpt, duration_ms, address, _retry_after_s(response.headers))


def _headers(target: Target, message_id: str, body: bytes, secrets: tuple[bytes, ...]) -> _Headers:
    timestamp_s = int(time.time())
    return {
        "Host": target.authority,
        "User-Agent": f"queuecast/{release()}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": signature(secrets, message_id, timestamp_s, body),
    }


def _answer(target: Target, headers: _Headers, body: bytes, stream: Stream, deadline: Deadline) -> httpcore.Response:
    url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
    request = httpcore.Request("POST", url, headers=headers, content=body)
    try:
        return httpcore.HTTP11Connection(url.origin, stream).handle_request(request)
    except TimeoutError as error:
        raise TargetUnreachable(f"{target.host} did not answer within {deadline.timeout_s:g} s.") from error
    except AnswerTooLong as error:
        raise TargetUnreachable(f"The headers of {target.host}'s answer are too long.") from error
    except (httpcore.RemoteProtocolError, OSError) as error:
        if isinstance(error, OSError) or not stream.received_bytes:
            raise TargetUnreachable(f"{target.host} closed the connection before it answered.") from error
        raise TargetUnreachable(f"{target.host} did not answer with HTTP.") from error


def _excerpt(pieces: Iterator[bytes]) -> str:
    """Return the beginning of a body; ignore a rest that is too long, too late or broken."""
    kept = b""
    with suppress(OSError, AnswerTooLong, httpcore.RemoteProtocolError):
        for piece in pieces:
            kept += piece[: EXCERPT_BYTES - len(kept)]
    return kept.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")  # PostgreSQL's text allows no NUL


def _retry_after_s(headers: list[tuple[bytes, bytes]]) -> int | None:
    value = next((value for name, value in headers if name.lower() == b"retry-after"), b"").decode("latin-1").strip()
    if re.fullmatch("[0-9]{1,20}", value):
        return min(int(value), _LONGEST_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    wait_s = at.replace(tzinfo=at.tzinfo or UTC).timestamp() - time.time()
    return min(max(math.ceil(wait_s), 0), _LONGEST_RETRY_AFTER_S)
