"""Says in plain words why a Redis that is up, or sentinels that are, can't be used as a URL says it.

Nothing here repeats what a driver says, nor a password. What may pass by itself is no reason: a server that is away or
is loading its data, sentinels of which none answers, a failover that isn't over.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from workers import sentinel_url
from workers.sentinel_url import SentinelUrl

_TIMEOUT_S = 1.0
#: X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL.
_OTHER_NAME = (62, 64)
_NONE_ASKED = "without any password configured"
_GUIDE = "(queuecast docs redis-failover)"
_FILES = "A file that ssl_ca_certs, ssl_certfile or ssl_keyfile names"


@dataclass(frozen=True)
class _Place:
    """A server as it is spoken to.

    Attributes:
        name: what a person calls it.
        options: of redis-py, with `host` and `port` unless it has a unix socket.
        login: how the URL says the user and password.
        tls_off, tls_on: how the URL says that.
        rights: what its users need.
    """

    name: str
    options: dict[str, Any]
    is_tls: bool
    login: str
    tls_off: str
    tls_on: str
    rights: str


def reason(url: str) -> str | None:
    """Return why this URL can't work, and what to do; None if it works, or may do so later."""
    if not sentinel_url.is_sentinel(url):
        return _of_server(url)
    parsed = sentinel_url.parse(url)
    answers = [_of_sentinel(parsed, host, port) for host, port in parsed.sentinels]
    known = [each for each in answers if isinstance(each, dict)]
    if not known:
        return next((each for each in answers if isinstance(each, str)), None)
    states = [each[parsed.master_name] for each in known if parsed.master_name in each]
    if not states:
        names = ", ".join(sorted({name for each in known for name in each})) or "none"
        return (
            f"The sentinels know no master of the name {parsed.master_name!r} (they know: {names}). "
            f"Set master_name to what `sentinel monitor` says in their files {_GUIDE}."
        )
    up = next((each for each in states if not each["is_sdown"] and not each["is_odown"]), None)
    return _of_server(parsed.server_url, (up["ip"], up["port"])) if up else None


def _of_sentinel(url: SentinelUrl, host: str, port: int) -> dict[str, Any] | str | None:
    """Return the masters that a sentinel knows, or why it can't be asked; None if it is away."""
    options = url.sentinel_options({"host": host, "port": port, **_limits()})
    is_tls = bool(options.pop("ssl", False))
    place = _Place(
        name=f"The sentinel at {host}:{port}",
        options=options,
        is_tls=is_tls,
        login="sentinel_username and sentinel_password",
        tls_off="sentinel_ssl=false",
        tls_on="sentinel_ssl=true and ssl_ca_certs",
        rights="+ping +hello +sentinel|masters",
    )
    try:
        with _client(place) as client:
            found: dict[str, Any] = client.sentinel_masters()
            return found
    except redis.RedisError as error:
        if isinstance(error, redis.ResponseError) and "unknown command" in str(error):
            return f"{place.name} is no sentinel: name the sentinels' port, which is 26379 unless set {_GUIDE}."
        return _said(place, error)


def _of_server(url: str, found_at: tuple[str, int] | None = None) -> str | None:
    """Return why a server can't be used; `found_at`, the sentinels say that it is."""
    # Not those of a pool: it adds objects that are about its own host.
    options = {**redis.connection.parse_url(url), **_limits()}  # type: ignore[no-untyped-call]
    kind = options.pop("connection_class", redis.Connection)
    if found_at:
        options["host"], options["port"] = found_at
    where = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
    place = _Place(
        name=f"The Redis at {where}" if not found_at else f"The Redis at {where}, which the sentinels name,",
        options=options,
        is_tls=issubclass(kind, redis.SSLConnection),
        login="user:password@ before the first host" if found_at else "user:password@ before the host",
        tls_off="ssl=false (sentinel_ssl=true keeps it for the sentinels)" if found_at else "redis:// for rediss://",
        tls_on="ssl=true and ssl_ca_certs" if found_at else "rediss:// for redis://",
        rights="those of docs/redis-users.acl",
    )
    try:
        with _client(place) as client:
            client.ping()
    except redis.RedisError as error:
        return _said(place, error)
    return None


def _limits() -> dict[str, Any]:
    times = {"socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S}
    return {**times, "retry": Retry(NoBackoff(), 0), "protocol": 2}


def _client(place: _Place) -> redis.Redis:
    if "path" in place.options:
        kind: Any = redis.UnixDomainSocketConnection
    else:
        kind = redis.SSLConnection if place.is_tls else redis.Connection
    return redis.Redis.from_pool(redis.ConnectionPool(connection_class=kind, **place.options))


def _said(place: _Place, error: redis.RedisError) -> str | None:
    """Return what an error means for who set this up; None if it may pass."""
    if isinstance(error, redis.exceptions.NoPermissionError):
        return f"{place.name} denies this user what is needed: {place.rights} {_GUIDE}."
    if isinstance(error, redis.AuthenticationError):
        return _of_login(place, str(error))
    if isinstance(error, (redis.BusyLoadingError, redis.ResponseError)):
        return None
    return _of_tls(place, error) if "path" not in place.options else None


def _of_login(place: _Place, text: str) -> str:
    if _NONE_ASKED in text:
        return f"{place.name} asks for no password, but the URL has one: leave out {place.login} {_GUIDE}."
    if not place.options.get("password"):
        return f"{place.name} asks for a password, and the URL has none: add {place.login} {_GUIDE}."
    return f"{place.name} refuses the user or the password: correct {place.login} {_GUIDE}."


def _of_tls(place: _Place, error: BaseException) -> str | None:
    if not place.is_tls:
        if not _accepts_tls(place):
            return None
        return f"{place.name} speaks TLS, and the URL asks for none: write {place.tls_on} {_GUIDE}."
    for each in _causes(error):
        if said := _of_certificates(place, each):
            return f"{said} {_GUIDE}."
    if _answers_plainly(place):
        return f"{place.name} speaks no TLS, and the URL asks for it: write {place.tls_off}, or its TLS port {_GUIDE}."
    return None


def _of_certificates(place: _Place, cause: BaseException) -> str | None:
    inside = place.name[0].lower() + place.name[1:]
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code in _OTHER_NAME:
            return (
                f"The certificate of {inside} is for another name or address: issue one that has this in its "
                "subjectAltName, or use the name that it has"
            )
        return (
            f"The certificate of {inside} is not trusted: ssl_ca_certs has to name the file with the certificate of "
            "the authority that signed it"
        )
    if isinstance(cause, ssl.SSLError) and "CERTIFICATE_REQUIRED" in str(cause.reason):
        return f"{place.name} asks for a certificate of its clients: add ssl_certfile and ssl_keyfile"
    return _of_files(cause)


def _of_files(cause: BaseException) -> str | None:
    if isinstance(cause, FileNotFoundError):
        return f"{_FILES} does not exist: correct its path"
    if isinstance(cause, (PermissionError, IsADirectoryError)):
        return f"{_FILES} can't be read: correct its path, or let this user read it"
    if isinstance(cause, ssl.SSLError) and (cause.library == "X509" or "PEM lib" in str(cause)):
        return f"{_FILES} holds no certificate or key in PEM, or the key of another certificate"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _accepts_tls(place: _Place) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with suppress(OSError), _dialled(place) as plain, context.wrap_socket(plain):
        return True
    return False


def _answers_plainly(place: _Place) -> bool:
    with suppress(OSError), _dialled(place) as plain:
        plain.sendall(b"PING\r\n")
        return plain.recv(1) in (b"+", b"-")
    return False


def _dialled(place: _Place) -> socket.socket:
    return socket.create_connection((place.options["host"], place.options["port"]), _TIMEOUT_S)
