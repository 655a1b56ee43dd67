"""A job's changes of state as server-sent events (WHATWG HTML, section 9.2): the frames, and when a stream ends."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

from api.edge.call import Call
from api.jobs import position
from api.process.services import Services
from workers.jobs.on_loop.following import Follower
from workers.jobs.query import JobView
from workers.platform import fast_json
from workers.platform.loops.blocking import beside

#: The pause before a browser connects again, also after a restart of the server.
_RETRY_MS = 2_000
#: A comment: it keeps the connection alive in proxies, and fails if the client is gone.
_HEARTBEAT = b":\n\n"


async def begin(call: Call, job_id: str, last_event_id: str | None) -> AsyncGenerator[bytes, None] | None:
    """Return the frames of a job that the caller may see, to be closed; None if the client has seen the job's end.

    Raises:
        JobNotFound: the id is unknown, or that of another owner's job.
        TooManyStreams: the limit of open streams is reached.
        QueueUnavailable: Redis can't be reached.
    """
    here, caller = call.services, call.caller
    held = AsyncExitStack()
    try:
        follower = await held.enter_async_context(here.jobs.desk.following.following(job_id, caller.sees_jobs_of))
        job = follower.job
        if job is not None and job.state.terminal and last_event_id is not None:
            _, event_id = await beside(job.record_bytes, _event, job)
            if event_id == last_event_id:
                return None
        # With a ticket, the place is that of the owner of the job.
        held.enter_context(here.streaming(caller.name or (None if job is None else job.owner)))
        held.enter_context(call.metrics.streaming())
        frames = _frames(here, follower, last_event_id, held.pop_all())
        # The generator has to start here: closing one that has not started would not release what it holds.
        await anext(frames)
        return frames
    finally:
        await held.aclose()


async def _frames(
    here: Services, follower: Follower, last_event_id: str | None, held: AsyncExitStack
) -> AsyncGenerator[bytes, None]:
    """Yield nothing at first; then frames until the job has ended, the process is ending, or the stream is too old."""
    async with held:
        yield b""
        settings = here.settings
        ends_at = time.monotonic() + settings.event_stream_s
        yield b"retry: %d\n\n" % _RETRY_MS
        while (job := follower.job) is not None:
            content, event_id = await beside(job.record_bytes, _event, await position.explained_on_loop(here, job))
            if event_id != last_event_id:
                last_event_id = event_id
                yield f"event: {job.state}\nid: {event_id}\ndata: ".encode() + content + b"\n\n"
            left_s = ends_at - time.monotonic()
            if job.state.terminal or left_s <= 0 or here.ending.is_set():
                return
            if not await follower.wait(min(settings.event_heartbeat_s, left_s)):
                yield _HEARTBEAT


def _event(job: JobView) -> tuple[bytes, str]:
    """Return an event's data and its id, which changes with the data."""
    content = fast_json.dumps_strict(job.document())
    return content, f"{job.state}-{hashlib.blake2s(content, digest_size=8).hexdigest()}"
