"""Finds the master that sentinels name, and makes sure that a connection's server is one.

After a failover, a connection may still be open to the old master, which is a replica then: it refuses what changes
anything, and answers questions from a past state. So each server is asked for its role, by `HELLO`, which clients need
anyway to log in: at the beginning of a connection, and again before one is used that wasn't asked for a while.
"""

from __future__ import annotations

import time
from typing import Any

import redis
import redis.asyncio.sentinel
import redis.sentinel
from redis.backoff import NoBackoff
from redis.retry import Retry

from workers.sentinel_url import SentinelUrl

#: What a server says of itself: of what mode it is, and of what role.
HELLO = ("HELLO", "2")
#: How long a connection is used before its server is asked again.
VERIFIED_FOR_S = 5.0
#: For each of connecting to a sentinel and its answer: further ones are asked after that.
_SENTINEL_TIMEOUT_S = 0.5
#: How redis-py begins to say that no sentinel knows a master that answers.
NOT_FOUND = "No master found for "
#: How these errors begin, also in the middle of a script's error before Redis 7.0.
_DEMOTED = ("READONLY ", "MASTERDOWN ", "UNBLOCKED ")
_DEMOTED_ERRORS = (redis.ReadOnlyError, redis.exceptions.MasterDownError)

CLUSTER = (
    "This Redis runs in cluster mode, which Queuecast can't use: one step changes keys of many slots. Use a Redis "
    "without cluster mode, with sentinels or as your provider replicates it (queuecast docs redis-failover)."
)
_SENTINEL = "This is a sentinel, and no Redis for data: its URL has to be sentinel://… (queuecast docs redis-failover)."


class NotMaster(redis.ConnectionError):
    """The server is a replica, so that it has changed nothing; the connection is closed, and the next one may do."""


class WrongMode(NotMaster):
    """The server is one that can't be used: a cluster's, or a sentinel."""


def is_verified(verified_at: float, left_at: float) -> bool:
    """Tell whether a server needn't be asked again that has said so then; `left_at`, one was a master no longer."""
    return verified_at > max(left_at, time.monotonic() - VERIFIED_FOR_S)


def is_demotion(error: object) -> bool:
    """Tell whether an error says that the server is a replica, or has just become one."""
    if isinstance(error, _DEMOTED_ERRORS):
        return True
    return isinstance(error, redis.ResponseError) and says_demotion(str(error))


def says_demotion(text: str) -> bool:
    """Tell whether the text of an error, as a script may pass it on, says that the server is a replica."""
    return any(each in text for each in _DEMOTED)


def demotion(error: redis.ResponseError, *, replies: int) -> redis.ConnectionError:
    """Return what is raised for such an error, after so many other replies to what was sent together."""
    # The server was still a master while it carried out what those are about.
    return redis.ConnectionError(f"Redis became a replica: {error}") if replies else NotMaster(str(error))


def check_hello(answer: Any) -> None:
    """Check what a server has answered to HELLO. One that can't say passes: it may be older, or a proxy.

    Raises:
        WrongMode: it can't be used.
        NotMaster: it is a replica.
    """
    if not isinstance(answer, list):
        return
    said = dict(zip(answer[::2], answer[1::2], strict=False))
    mode, role = (_text(said.get(name, said.get(name.encode()))) for name in ("mode", "role"))
    if mode == "cluster":
        raise WrongMode(CLUSTER)
    if mode == "sentinel":
        raise WrongMode(_SENTINEL)
    if role in ("replica", "slave"):
        raise NotMaster("Redis is a replica: looking for the master")


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def connection_options() -> dict[str, Any]:
    """Return redis-py's options for connections to sentinels, for synchronous clients."""
    return {
        "socket_timeout": _SENTINEL_TIMEOUT_S,
        "socket_connect_timeout": _SENTINEL_TIMEOUT_S,
        # A sentinel that is away must not be tried for long: there are others.
        "retry": _RETRY,
    }


#: The same for all: kombu tells connections apart by what their options look like.
_RETRY = Retry(NoBackoff(), 1)


def sentinels(url: SentinelUrl) -> redis.sentinel.Sentinel:
    """Return a client of the sentinels; it connects when it is asked."""
    options = url.sentinel_options({**connection_options(), "protocol": 2})
    return redis.sentinel.Sentinel(url.sentinels, sentinel_kwargs=options)  # type: ignore[no-untyped-call]


def async_sentinels(url: SentinelUrl) -> redis.asyncio.sentinel.Sentinel:
    """Return an asynchronous client of the sentinels; it connects when it is asked."""
    retry = redis.asyncio.retry.Retry(NoBackoff(), 1)
    options = url.sentinel_options({**connection_options(), "retry": retry, "protocol": 2})
    return redis.asyncio.sentinel.Sentinel(url.sentinels, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
