"""Group commit: submits of many clients that arrive together are stored by one call of the accept script.

Submits of one owner to one endpoint go through the script as the jobs of one call. If that call is refused as a whole
(there is room for some of them alone), each of them is submitted alone, in order. A submit with an idempotency key, and
one that is delayed, always is a call of its own. So each submit gets the answer that it would get alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import redis

from workers.errors import JobUnconfirmed, QueueUnavailable
from workers.jobs import accept
from workers.jobs.accept import Accepted, Idempotency, Limits, PreparedJob
from workers.jobs.bulk import CHUNK_BYTES, CHUNK_JOBS
from workers.jobs.on_loop import scripts
from workers.jobs.on_loop.gathering import Gathering
from workers.platform.redis.async_client import Client
from workers.platform.redis.client import may_have_arrived
from workers.queues.priorities import Priority

#: Groups that Redis is asked to store at once; while it does, the next ones grow.
_GROUPS_UNDER_WAY = 4
#: Messages that wait to be stored; more are refused, because Redis can't keep up.
MOST_WAITING_BYTES = 64 * 1024 * 1024
_TOO_SLOW = "Too many submits wait for the job queue; nothing was stored. Try again shortly."


class _Submit(NamedTuple):
    new: PreparedJob
    limits: Limits
    idempotency: Idempotency | None
    #: Of the script, as for this job alone; or the redis.RedisError.
    answer: asyncio.Future[Any]

    @property
    def group(self) -> Hashable:
        """What submits have in common that are stored by one call."""
        job = self.new.job
        if self.idempotency is not None or job.not_before is not None:
            return job.job_id
        return job.endpoint_name, job.owner, self.limits


class Commits:
    """Stores jobs; its methods are called on one event loop."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._gathering = Gathering[_Submit](
            self._store, most_items=CHUNK_JOBS, most_bytes=CHUNK_BYTES, most_under_way=_GROUPS_UNDER_WAY
        )

    async def commit(self, new: PreparedJob, limits: Limits, idempotency: Idempotency | None) -> Accepted:
        """Store a job and its message.

        Raises:
            QueueFull, IdempotencyConflict: as `accept.submit`.
            JobUnconfirmed: Redis was lost on the way, or too few replicas have the job; it may be stored.
            QueueUnavailable: too many submits wait already; nothing was stored.
            redis.RedisError: Redis can't be reached or refuses; nothing was stored.
        """
        if self._gathering.waiting_bytes > MOST_WAITING_BYTES:
            raise QueueUnavailable(_TOO_SLOW)
        submit = _Submit(new, limits, idempotency, asyncio.get_running_loop().create_future())
        self._gathering.add(submit, len(new.envelope))
        answer = await submit.answer
        if isinstance(answer, redis.RedisError):
            if may_have_arrived(answer):
                raise JobUnconfirmed(new.job.job_id) from answer
            raise answer
        return accept.accepted_of(new, answer)

    async def _store(self, submits: list[_Submit]) -> None:
        groups: dict[Hashable, list[_Submit]] = {}
        for each in submits:
            groups.setdefault(each.group, []).append(each)
        left = await self._store_groups(list(groups.values()))
        if left:
            await self._store_groups([[each] for each in left])

    async def _store_groups(self, groups: Sequence[list[_Submit]]) -> list[_Submit]:
        """Store each group by one call; return the submits that must be stored alone."""
        calls = [_call(group) for group in groups]
        left: list[_Submit] = []
        answers = await scripts.run(self._client, accept.ACCEPT, calls, replicated=True)
        for group, answer in zip(groups, answers, strict=True):
            if len(group) == 1 or isinstance(answer, redis.RedisError):
                for each in group:
                    _tell(each, answer)
            elif answer[0] == b"accepted":
                left += _tell_accepted(group, answer)
            else:
                left += group
        return left


def _call(group: Sequence[_Submit]) -> scripts.Call:
    new, first = [each.new for each in group], group[0]
    return accept.script_arguments(accept.request_of(new, first.limits, first.idempotency), new)


def _tell_accepted(group: Sequence[_Submit], answer: Sequence[Any]) -> list[_Submit]:
    """Tell each submit its part of the answer for all; return those whose job had been there."""
    _, unfinished, highs, lows, *new = answer
    is_new, left = set(new), list[_Submit]()
    for number, each in enumerate(group):
        if number not in is_new:
            left.append(each)
            continue
        _tell(each, [b"accepted", unfinished, highs, lows])
        unfinished += 1
        highs += each.new.job.priority is Priority.HIGH
        lows += each.new.job.priority is Priority.LOW
    return left


def _tell(submit: _Submit, answer: Any) -> None:
    if not submit.answer.done():  # its caller may be gone
        submit.answer.set_result(answer)
