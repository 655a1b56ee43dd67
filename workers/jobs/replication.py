"""Waits until replicas of Redis have what was stored, if the settings say so.

Redis answers before its replicas have what it has stored, so a failover may lose it. `WAIT`, on the connection that has
stored something, answers once enough replicas have it, or after a time.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import redis

from workers.platform.lua import Lua, digest
from workers.settings import load

_log = logging.getLogger(__name__)

#: The keys and the arguments of a script.
Call = tuple[Sequence[str], Sequence[Any]]

#: What the answers of `accept.lua`, and of `begin.lua` of pipelines, begin with if there are jobs that must be kept.
_STORED = (b"accepted", b"repeated", b"begun")


class NotReplicated(redis.TimeoutError):
    """Too few replicas have what was stored: it is kept unless the master is lost before they do."""


def wait_command() -> tuple[str | int, ...] | None:
    """Return the command that waits for replicas; None if none are wanted."""
    settings = load()
    wanted = settings.redis_replicas
    return ("WAIT", wanted, settings.redis_replicas_timeout_ms) if wanted else None


def confirmed(answers: Sequence[Any], waited: Any) -> list[Any]:
    """Return the answers of calls of such a script, with an error for each that enough replicas have not confirmed.

    `waited` is the answer to the `WAIT` behind them, or its error.
    """
    wanted = load().redis_replicas
    if isinstance(waited, int) and waited >= wanted:
        return list(answers)
    reason = waited if isinstance(waited, redis.RedisError) else f"{waited} of {wanted} replicas have them"
    error = NotReplicated(f"jobs that were stored may be lost in a failover: {reason}")
    _log.warning("%s", error)
    return [error if _has_stored(answer) else answer for answer in answers]


def run(client: redis.Redis, source: Lua, call: Call, waiting: Sequence[str | int]) -> list[Any]:
    """Run a script that stores jobs with these keys and arguments, and wait for replicas; return its answer.

    Raises:
        NotReplicated: it has stored jobs, and too few replicas have them.
        redis.RedisError: Redis can't be reached, or refuses.
    """
    answer = _run(client, source, call, waiting)
    if isinstance(answer, redis.exceptions.NoScriptError):
        client.script_load(source.text)
        answer = _run(client, source, call, waiting)
    if isinstance(answer, redis.RedisError):
        raise answer
    found: list[Any] = answer
    return found


def _run(client: redis.Redis, source: Lua, call: Call, waiting: Sequence[str | int]) -> Any:
    names, values = call
    # In one pipeline, because WAIT is about what its own connection has stored.
    with client.pipeline(transaction=False) as pipeline:
        pipeline.execute_command("EVALSHA", digest(source), len(names), *names, *values)  # type: ignore[no-untyped-call]
        pipeline.execute_command(*waiting)  # type: ignore[no-untyped-call]
        answer, waited = pipeline.execute(raise_on_error=False)
    [judged] = confirmed([answer], waited)
    return judged


def _has_stored(answer: Any) -> bool:
    return isinstance(answer, list) and bool(answer) and answer[0] in _STORED
