"""The names of the endpoints that take jobs, in Redis, for programs that don't read the registry.

Deploys add them at once; a duty of the background process (`keeper`) reads all of them from the registry again and
again, and says when it did. A name that is there is taken as it is. One that is missing proves nothing: an API of an
earlier release may have deployed it, or Redis may have lost it. So a program that misses a name asks for a reading that
begins after its question, and only that one refuses the job. Where nobody answers, the job is sent.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
import redis
from redis.exceptions import NoPermissionError

from workers import keys
from workers.errors import EndpointUnknown, QueueUnavailable
from workers.platform.lua import Lua, script
from workers.platform.redis.client import records_client, refuses_for_good, translated_errors

_log = logging.getLogger(__name__)

#: The field that tells of the last reading; no endpoint's name has a colon.
READING = ":reading"
#: A name that was seen is not looked up again for this time.
_SEEN_FOR_S = 10.0
#: A reading that is older was made by a process that is gone: nobody would answer.
_FRESH_S = 15.0
#: How long an answer is waited for, and how often it is looked for.
_ANSWER_S, _LOOK_S = 2.0, 0.02
_MOST_SEEN = 10_000
_REPLACE = Lua("workers.endpoints", "replace_names")


class Reading(msgspec.Struct):
    """When the names were last read from the registry (s, Redis clock), and the questions that this answers."""

    at: float
    asked: int

    @classmethod
    def of(cls, stored: bytes | None) -> Reading | None:
        """Return what is stored; None without a reading that can be read."""
        with suppress(msgspec.DecodeError, msgspec.ValidationError):
            return None if stored is None else msgspec.json.decode(stored, type=cls)
        return None


_seen: dict[str, float] = {}
_lock = threading.Lock()


def check(endpoint_name: str) -> None:
    """Raise EndpointUnknown if certainly nothing that takes jobs is deployed under this name; else return."""
    if _seen.get(endpoint_name, 0.0) > time.monotonic():
        return
    # What Redis can't tell, or may not be asked, must not keep a job from its queue.
    with suppress(redis.RedisError, QueueUnavailable), translated_errors(changes=False):
        if not _is_missing(endpoint_name):
            return
        raise unknown(endpoint_name)


def unknown(endpoint_name: str) -> EndpointUnknown:
    """Return the error of a job for an endpoint that doesn't exist."""
    return EndpointUnknown(
        f"Nothing that takes jobs is deployed as {endpoint_name!r}: `queuecast deployments` lists what is. "
        "To send a job before its endpoint is deployed, call predict.apply_async with must_exist=False."
    )


def add(endpoint_names: Iterable[str]) -> None:
    """Note that these endpoints take jobs. Raises QueueUnavailable."""
    found = dict.fromkeys(endpoint_names, 1)
    if found:
        with _noted():
            records_client().hset(keys.TAKING_JOBS, mapping=found)  # type: ignore[arg-type]


def remove(endpoint_names: Iterable[str]) -> None:
    """Note that these endpoints take no jobs any more. Raises QueueUnavailable."""
    with _noted():
        records_client().hdel(keys.TAKING_JOBS, *endpoint_names)


@contextmanager
def _noted() -> Iterator[None]:
    """Log it if this process lacks the right (of an earlier release's list): the names are read again anyway."""
    with translated_errors():
        try:
            yield
        except redis.ResponseError as error:
            if not refuses_for_good(error):
                raise
            _log.warning("can't note which endpoints take jobs: %s", error)


def asked() -> int:
    """Return how many questions there were. Raises redis.RedisError."""
    found: Any = records_client().get(keys.TAKING_JOBS_ASKED)
    return int(found or 0)


def write(endpoint_names: Iterable[str], answered: int) -> None:
    """Replace all names by those that were read, after `answered` questions. Raises redis.RedisError."""
    client = records_client()
    seconds, _ = client.time()
    reading = json.dumps({"at": float(seconds), "asked": answered})
    script(client, _REPLACE)([keys.TAKING_JOBS], [READING, reading, *endpoint_names])


def _is_missing(endpoint_name: str) -> bool:
    is_there, reading = _look(endpoint_name)
    if is_there or reading is None or _now() - reading.at > _FRESH_S:
        return False
    question = records_client().incr(keys.TAKING_JOBS_ASKED)
    with suppress(NoPermissionError):  # the question is seen a little later
        records_client().publish(keys.TAKING_JOBS_CHANNEL, question)
    ends_at = time.monotonic() + _ANSWER_S
    while time.monotonic() < ends_at:
        is_there, reading = _look(endpoint_name)
        if is_there:
            return False
        if reading is not None and reading.asked >= question:
            return True
        time.sleep(_LOOK_S)
    return False


def _look(endpoint_name: str) -> tuple[bool, Reading | None]:
    found: Any = records_client().hmget(keys.TAKING_JOBS, [endpoint_name, READING])
    if found[0] is not None:
        with _lock:
            if len(_seen) >= _MOST_SEEN:
                _seen.clear()
            _seen[endpoint_name] = time.monotonic() + _SEEN_FOR_S
    return found[0] is not None, Reading.of(found[1])


def _now() -> float:
    seconds, microseconds = records_client().time()
    return float(seconds) + microseconds / 1e6


def forget_seen() -> None:
    """Forget which names this process has seen lately."""
    with _lock:
        _seen.clear()
