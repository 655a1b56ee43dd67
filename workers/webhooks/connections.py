"""The connection that a webhook goes over: to an address that was checked, with TLS, and with one deadline for all."""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

import httpcore

from workers.errors import TargetUnreachable
from workers.webhooks.targets import Target, Targets

#: Returns the addresses of a host, and raises `OSError` as `socket.getaddrinfo` does.
Resolver = Callable[[str, int], Sequence[str]]
#: Of more addresses the rest is not tried: each gets a share of the time.
_MOST_TRIED = 4
_EXPIRED, _UNKNOWN_AUTHORITY, _OTHER_NAME = (10,), (18, 19, 20, 21), (62, 64)
_NO_ADDRESS = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


@lru_cache(maxsize=1)
def system_tls() -> ssl.SSLContext:
    """Return TLS that trusts the authorities of this machine, or those of `SSL_CERT_FILE`."""
    return ssl.create_default_context()


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a host, as the machine's resolver knows them."""
    return [str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True, slots=True)
class Network:
    """What a webhook meets on its way: the names of hosts, and the authorities that certify them."""

    resolve: Resolver = look_up
    tls: Callable[[], ssl.SSLContext] = system_tls


class Deadline:
    """How long a whole call may take, from now on."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._started_at = time.monotonic()

    def elapsed_s(self) -> float:
        """Return how much of it is over."""
        return time.monotonic() - self._started_at

    def left_s(self) -> float:
        """Return how much is left.

        Raises:
            TimeoutError: nothing is.
        """
        left = self.timeout_s - self.elapsed_s()
        if left <= 0:
            raise TimeoutError
        return left


def connect(target: Target, targets: Targets, network: Network, deadline: Deadline) -> tuple[socket.socket, str]:
    """Look a host up once, check each of its addresses, and return a connection to one of them, with its address.

    Raises:
        TargetRefused: one of its addresses is refused.
        TargetUnreachable: there is none, or no connection.
    """
    addresses = [target.address] if target.address else _addresses(target, network.resolve, deadline)
    for address in addresses:
        targets.check_address(address)
    connection, address = _first_that_answers(addresses[:_MOST_TRIED], target, deadline)
    if target.scheme == "https":
        return _with_tls(connection, target, network.tls(), deadline), address
    return connection, address


def _addresses(target: Target, resolve: Resolver, deadline: Deadline) -> list[str]:
    """Look up in a thread of its own: the machine's resolver knows no time limit."""
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(list(dict.fromkeys(resolve(target.host, target.port))))
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            answers.put(error)

    threading.Thread(target=ask, name=f"look-up of {target.host}", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.left_s())
    except (queue.Empty, TimeoutError):
        raise TargetUnreachable(f"Looking up {target.host} took longer than {deadline.timeout_s:g} s.") from None
    if isinstance(answer, Exception):
        _raise_look_up_error(target.host, answer)
    if not answer:
        raise TargetUnreachable(f"{target.host} has no address.")
    return answer


def _raise_look_up_error(host: str, error: Exception) -> NoReturn:
    if isinstance(error, socket.gaierror) and error.errno in _NO_ADDRESS:
        raise TargetUnreachable(f"{host} has no address.") from error
    if isinstance(error, OSError | UnicodeError):
        raise TargetUnreachable(f"{host} can't be looked up: DNS doesn't answer.") from error
    raise error


def _first_that_answers(addresses: list[str], target: Target, deadline: Deadline) -> tuple[socket.socket, str]:
    why: OSError | None = None
    for place, address in enumerate(addresses):
        try:
            share_s = deadline.left_s() / (len(addresses) - place)
            return socket.create_connection((address, target.port), share_s), address
        except OSError as error:
            why = error
    if isinstance(why, ConnectionRefusedError):
        raise TargetUnreachable(f"{target.host} refuses connections on port {target.port}.") from why
    if isinstance(why, TimeoutError):
        raise TargetUnreachable(
            f"{target.host} accepted no connection on port {target.port} within {deadline.timeout_s:g} s."
        ) from why
    raise TargetUnreachable(f"{target.host} can't be reached on port {target.port}: the network has no way.") from why


def _with_tls(connection: socket.socket, target: Target, tls: ssl.SSLContext, deadline: Deadline) -> ssl.SSLSocket:
    try:
        connection.settimeout(deadline.left_s())
        return tls.wrap_socket(connection, server_hostname=target.host)
    except OSError as error:
        connection.close()
        raise TargetUnreachable(_tls_reason(target.host, error, deadline)) from error


def _tls_reason(host: str, error: OSError, deadline: Deadline) -> str:
    if isinstance(error, TimeoutError):
        return f"{host} took longer than {deadline.timeout_s:g} s to begin with TLS."
    if not isinstance(error, ssl.SSLCertVerificationError):
        return f"{host} doesn't speak TLS on this port, or no version that is safe."
    if error.verify_code in _EXPIRED:
        return f"The certificate of {host} has expired."
    if error.verify_code in _UNKNOWN_AUTHORITY:
        return f"The certificate of {host} is from an authority that this machine doesn't know (see SSL_CERT_FILE)."
    if error.verify_code in _OTHER_NAME:
        return f"The certificate of {host} is for another name."
    return f"The certificate of {host} is not valid."


class AnswerTooLong(Exception):
    """More has come than is read of one answer."""


class Stream(httpcore.NetworkStream):
    """A connection as httpcore reads and writes it, under the deadline and with a bound on what comes in.

    httpcore's own time limits are for each read, which a server that sends a byte now and then never exceeds.

    Attributes:
        received_bytes: how much has come.
    """

    def __init__(self, connection: socket.socket, deadline: Deadline, most_bytes: int) -> None:
        self.received_bytes = 0
        self._connection = connection
        self._deadline = deadline
        self._most_bytes = most_bytes

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the deadline counts
        """Return what has come, at most as many bytes.

        Raises:
            AnswerTooLong: more has come than may.
            OSError: the connection is lost, or the deadline over.
        """
        if self.received_bytes >= self._most_bytes:
            raise AnswerTooLong
        self._connection.settimeout(self._deadline.left_s())
        found = self._connection.recv(min(max_bytes, self._most_bytes - self.received_bytes))
        self.received_bytes += len(found)
        return found

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the deadline counts
        """Send everything; piece by piece, since `sendall` of TLS gives each piece the whole time.

        Raises:
            httpcore.WriteError: the other side has closed; there may be an answer nevertheless.
            OSError: the deadline is over.
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
