"""Task messages from a template: thousands a second, where encoding each anew would take longer than the jobs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import redis

from workers.queues import envelopes

#: Stands where each message has its own id: as long as a uuid, and in no row.
ID_MARK = "ffffffff-ffff-4fff-bfff-ffffffffffff"
CHUNK = 1_000
_numbers = itertools.count()


def template(app: Any, queue: str, task: str, args: tuple[Any, ...], **headers: Any) -> bytes:
    """Return the message of a call as it stands in the queue, with `ID_MARK` for its id."""
    message = app.amqp.as_task_v2(ID_MARK, task, args, {}, origin="bench@bench")
    message.headers.update(headers)
    body = json.dumps(message.body).encode()
    return envelopes.stored(envelopes.wrap(queue, body, "application/json", message.headers, message.properties))


def ids(count: int) -> list[str]:
    """Return so many job ids."""
    return [str(uuid4()) for _ in range(count)]


def chunks(job_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the ids in pieces that fit into one pipeline."""
    for start in range(0, len(job_ids), CHUNK):
        yield job_ids[start : start + CHUNK]


def push(client: redis.Redis, queue: str, text: bytes, job_ids: Sequence[str]) -> None:
    """Put a message for each id into a queue."""
    for chunk in chunks(job_ids):
        client.lpush(queue, *(text.replace(ID_MARK.encode(), job_id.encode()) for job_id in chunk))


def push_many(client: redis.Redis, queue: str, text: bytes, count: int) -> None:
    """Put so many messages into a queue, with ids that nothing else has."""
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        push(client, queue, text, [f"{number:036d}" for number in itertools.islice(_numbers, size)])
