"""Runs scripts in Redis from an event loop, several in one round trip, each with its own answer or error."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import redis

from workers.platform.lua import Lua
from workers.platform.redis.async_client import Client

Call = tuple[Sequence[str], Sequence[Any]]


@cache
def _digest(source: Lua) -> str:
    return hashlib.sha1(source.text.encode()).hexdigest()  # noqa: S324 - Redis's name for the script


async def run(client: Client, source: Lua, calls: Sequence[Call]) -> list[Any]:
    """Run a script once for each call (its keys and arguments); return each answer, or the redis.RedisError instead.

    A connection that is lost is the error of all calls: some of them may have been carried out.
    """
    answers = await _run(client, source, calls)
    unknown = [at for at, answer in enumerate(answers) if isinstance(answer, redis.exceptions.NoScriptError)]
    if unknown:  # Redis was restarted, or its scripts were flushed: it has run none of these
        try:
            await client.script_load(source.text)
        except redis.RedisError as error:
            again: list[Any] = [error] * len(unknown)
        else:
            again = await _run(client, source, [calls[at] for at in unknown])
        for at, answer in zip(unknown, again, strict=True):
            answers[at] = answer
    return answers


async def _run(client: Client, source: Lua, calls: Sequence[Call]) -> list[Any]:
    digest = _digest(source)
    try:
        return await client.run_scripts([("EVALSHA", digest, len(names), *names, *values) for names, values in calls])
    except redis.RedisError as error:
        return [error] * len(calls)
    except OSError as error:
        return [redis.ConnectionError(str(error))] * len(calls)
