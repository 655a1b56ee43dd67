"""A job's changes of state as server-sent events (WHATWG HTML, section 9.2): the frames, and when a stream ends."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from flask import current_app

from api.auth import identity
from api.http import telemetry
from api.jobs import position
from api.process.services import Services
from workers.jobs.following import Follower, default_following
from workers.jobs.query import JobView
from workers.platform import fast_json

#: The pause before a browser connects again, also after a restart of the server.
_RETRY_MS = 2_000
#: A comment: it keeps the connection alive in proxies, and fails if the client is gone.
_HEARTBEAT = b":\n\n"


class Stream:
    """The events of one job from now on; iterated once, and closed by the caller of `begin`."""

    def __init__(
        self, here: Services, follower: Follower, last_event_id: str | None, close: Callable[[], None]
    ) -> None:
        self._here = here
        self._follower = follower
        self._last_event_id = last_event_id
        self.close = close

    def __iter__(self) -> Iterator[bytes]:
        """Yield frames until the job has ended, the process is ending, or the stream has reached its longest life."""
        settings = self._here.settings
        ends_at = time.monotonic() + settings.event_stream_s
        yield b"retry: %d\n\n" % _RETRY_MS
        while (job := self._follower.job) is not None:
            content, event_id = _event(position.explained(self._here, job))
            if event_id != self._last_event_id:
                self._last_event_id = event_id
                yield f"event: {job.state}\nid: {event_id}\ndata: ".encode() + content + b"\n\n"
            left_s = ends_at - time.monotonic()
            if job.state.terminal or left_s <= 0 or self._here.ending.is_set():
                return
            if not self._follower.wait(min(settings.event_heartbeat_s, left_s)):
                yield _HEARTBEAT


def begin(here: Services, job_id: str, owner: str | None, last_event_id: str | None) -> Stream | None:
    """Return the events of a job, with an `owner` only of that owner's; None if the client has seen the job's end.

    Raises:
        JobNotFound: the id is unknown, or that of another owner's job.
        TooManyStreams: the limit of open streams is reached.
        QueueUnavailable: Redis can't be reached.
    """
    with ExitStack() as held:
        follower = held.enter_context(default_following().following(job_id, owner))
        job = follower.job
        if job is not None and job.state.terminal and _event(job)[1] == last_event_id:
            return None
        held.enter_context(here.streaming(_client(job)))
        held.enter_context(telemetry.counters_of(current_app).streaming())
        return Stream(here, follower, last_event_id, held.pop_all().close)


def _client(job: JobView | None) -> str | None:
    """Return the client whose place a stream takes; with a ticket, that is the owner of the job."""
    return identity.current().name or (None if job is None else job.owner)


def _event(job: JobView) -> tuple[bytes, str]:
    """Return an event's data and its id, which changes with the data."""
    content = fast_json.strict(job.document())
    return content, f"{job.state}-{hashlib.blake2s(content, digest_size=8).hexdigest()}"
