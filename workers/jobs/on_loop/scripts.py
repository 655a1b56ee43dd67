"""Runs scripts in Redis from an event loop, several in one round trip, each with its own answer or error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from workers.jobs import replication
from workers.platform.lua import Lua, digest
from workers.platform.redis.async_client import Client

Call = tuple[Sequence[str], Sequence[Any]]


async def run(client: Client, source: Lua, calls: Sequence[Call], *, replicated: bool = False) -> list[Any]:
    """Run a script once for each call (its keys and arguments); return each answer, or the redis.RedisError instead.

    A connection that is lost is the error of all calls: some of them may have been carried out. `replicated` waits for
    replicas, if the settings want some: once for all calls.
    """
    answers = await _run(client, source, calls, replicated=replicated)
    unknown = [at for at, answer in enumerate(answers) if isinstance(answer, redis.exceptions.NoScriptError)]
    if unknown:  # Redis was restarted, or its scripts were flushed: it has run none of these
        try:
            await client.script_load(source.text)
        except redis.RedisError as error:
            again: list[Any] = [error] * len(unknown)
        else:
            again = await _run(client, source, [calls[at] for at in unknown], replicated=replicated)
        for at, answer in zip(unknown, again, strict=True):
            answers[at] = answer
    return answers


async def _run(client: Client, source: Lua, calls: Sequence[Call], *, replicated: bool) -> list[Any]:
    commands: list[Sequence[Any]] = [
        ("EVALSHA", digest(source), len(names), *names, *values) for names, values in calls
    ]
    waiting = replication.wait_command() if replicated else None
    try:
        if waiting is None:
            return await client.run_scripts(commands)
        *answers, waited = await client.run_scripts([*commands, waiting])
        return replication.confirmed(answers, waited)
    except redis.RedisError as error:
        return [error] * len(calls)
    except OSError as error:
        return [redis.ConnectionError(str(error))] * len(calls)
