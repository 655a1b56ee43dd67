"""Reads messages that could crash a worker: one at a time in a thread, with the reader's name recorded while it reads.

A worker that is lost while it reads leaves its name behind; after several such workers the message is given up. A
worker that reads a message again because Redis was away counts once. Ordinary messages, small and not compressed, are
read without these steps. So that the event loop goes on, longer messages that name what follows their job, of which a
plan is made, are read in a thread too.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import suppress

from redis.asyncio import Redis

from workers import keys
from workers.engine.intake.messages import MessageUnreadable, QueuedJob, parse, unread
from workers.platform.loops import blocking
from workers.platform.lua import Lua, script
from workers.queues import envelopes
from workers.queues.envelopes import Envelope, EnvelopeUnreadable
from workers.queues.lease_holder import LEASE_HOLDER
from workers.settings import DAY_S

_log = logging.getLogger(__name__)

#: Longer messages are read with care.
_LARGE_BYTES = 1024 * 1024
#: So many workers may be lost with one message before it is given up.
MOST_LOST = 3
_REMEMBERED_S = 30 * DAY_S
#: Prefix of a message's tag; an earlier release stores a number under the bare tag.
READERS_OF = "readers of "

_BEGIN = Lua("workers.engine.intake", "begin_reading")

_END = Lua("workers.engine.intake", "end_reading")


def read_at_once(tag: str, endpoint_name: str, message: bytes, envelope: Envelope | None = None) -> QueuedJob | None:
    """Read an ordinary message; None for one that is to be read with care. Raises MessageUnreadable."""
    if len(message) > _LARGE_BYTES:
        return None
    try:
        found = envelope or envelopes.decode(message)
    except (EnvelopeUnreadable, RecursionError) as error:
        raise MessageUnreadable(f"not a task message: {error}") from error
    if found.is_packed or (len(message) > blocking.LONG_BYTES and _is_followed(found)):
        return None
    return parse(tag, endpoint_name, message, found)


def _is_followed(envelope: Envelope) -> bool:
    """Whether a message that isn't compressed may name what follows its job."""
    with suppress(EnvelopeUnreadable):
        return envelopes.may_name_successors(envelope.content())
    return False


async def read_with_care(
    client: Redis, tag: str, endpoint_name: str, message: bytes, envelope: Envelope | None = None
) -> QueuedJob:
    """Read a message, and count the loss of this worker while it reads; `tag` is as for `parse`.

    Raises:
        MessageUnreadable: as `parse` does, and if too many workers were lost with it and it has no job to fail.
        RedisError, OSError: Redis can't be reached.
    """
    reader = [READERS_OF + (tag or hashlib.sha256(message).hexdigest()), LEASE_HOLDER]
    if await script(client, _BEGIN)([keys.READING], [*reader, _REMEMBERED_S, MOST_LOST]) > MOST_LOST:
        why = f"The message is given up: {MOST_LOST} workers were lost while reading it."
        _log.error("a message of %s was given up: %s", endpoint_name, why, extra={"endpoint_name": endpoint_name})
        # The names stay: if the message is delivered again, it is given up at once.
        return unread(tag, endpoint_name, message, why)
    try:
        return await asyncio.to_thread(parse, tag, endpoint_name, message, envelope)
    finally:
        await script(client, _END)([keys.READING], reader[:1])
