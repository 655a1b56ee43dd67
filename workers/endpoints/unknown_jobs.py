"""The duty that fails the jobs for endpoints that don't exist, which would wait for ever.

Such jobs come from programs without our package: ours refuse them, and so does the API. An endpoint must not have
existed for `QUEUECAST_UNKNOWN_ENDPOINT_S`, as seen by this duty; a deploy that comes before, or while its jobs are
being failed, has the rest of them. Jobs that were accepted with a record are left alone: their endpoint existed, or
their program has asked to wait for it.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import Any, cast

import redis
from redis.exceptions import NoPermissionError

from registry import deployments
from registry.database import Database, default_database
from workers import keys
from workers.deployments import status
from workers.endpoints import brokers, names
from workers.endpoints.waiting import Queues, Waiting
from workers.errors import JobArgumentsWrong, SuccessorsTooLong
from workers.jobs import records
from workers.jobs.endings import canvas, successors
from workers.jobs.job import Job
from workers.platform.lua import Lua, script
from workers.platform.redis.client import records_client, refuses_for_good, translated_errors
from workers.queues import envelopes, signing
from workers.queues.envelopes import EnvelopeUnreadable
from workers.queues.signing import SignatureWrong
from workers.settings import load

_log = logging.getLogger(__name__)

_LONGEST_ROUND_S = 15.0
_SHORTEST_ROUND_S = 0.5
_FAIL = Lua("workers.endpoints", "fail_unknown")


class UnknownJobs:
    """Fails such jobs; any number of background processes may have one, of which one does each round."""

    name = "failing jobs for unknown endpoints"

    def __init__(self, queues: Queues, database: Database | None = None) -> None:
        self._queues = queues
        self._database = database
        self._unknown_s = load().unknown_endpoint_s

    @property
    def round_s(self) -> float:
        """How often it looks."""
        return min(_LONGEST_ROUND_S, max(_SHORTEST_ROUND_S, self._unknown_s / 4))

    def run(self, stopping: threading.Event) -> None:
        """Look until `stopping` is set.

        Raises:
            redis.RedisError, QueueUnavailable: Redis can't be reached.
            RegistryUnavailable: the registry can't be reached.
        """
        while not stopping.wait(self.round_s):
            if records_client().set(keys.UNKNOWN_ENDPOINTS_SEEN, 1, nx=True, px=int(self.round_s * 900)):
                try:
                    self.look(stopping)
                except NoPermissionError as error:
                    _log.warning("jobs for endpoints that don't exist wait for ever: %s", error)
                    stopping.wait()

    def look(self, stopping: threading.Event | None = None) -> None:
        """Make one round. Raises as `run`."""
        since = self._unknown_since()
        seconds, microseconds = records_client().time()
        now = seconds + microseconds / 1e6
        for endpoint_name, at in since.items():
            if now - at >= self._unknown_s and not (stopping is not None and stopping.is_set()):
                try:
                    self._fail_jobs_of(endpoint_name)
                except redis.ResponseError as error:
                    if not refuses_for_good(error):
                        raise
                    # A key of another type, of some other program: the other endpoints can be looked at.
                    _log.warning("can't look at the jobs for %s: %s", endpoint_name, error)

    def _unknown_since(self) -> dict[str, float]:
        """Return since when which names are known to be unknown, and remember it."""
        client = records_client()
        unknown = self._unknown(self._queues.endpoints())
        known: Any = client.hgetall(keys.UNKNOWN_ENDPOINTS)
        before = {name.decode(errors="replace"): float(at) for name, at in known.items()}
        if gone := [name for name in before if name not in unknown]:
            client.hdel(keys.UNKNOWN_ENDPOINTS, *gone)
        seconds, _ = client.time()
        if new := {name: float(seconds) for name in unknown if name not in before}:
            client.hset(keys.UNKNOWN_ENDPOINTS, mapping=new)  # type: ignore[arg-type]
        return {name: at for name, at in before.items() if name in unknown} | new

    def _unknown(self, endpoint_names: set[str]) -> set[str]:
        """Return those of the names under which nothing is deployed, nor being undeployed."""
        if not endpoint_names:
            return set()
        with (self._database or default_database()).session() as session:
            taking, undeployed = set(deployments.taking_jobs(session)), deployments.undeployed(session)
        workers = status.live_workers()
        groups = {each["worker_group"] for each in workers}
        held = {name for each in workers for name in each["endpoints"]}
        # What is undeployed is finished by the workers of its group, once there are some.
        ending = {name for name, group in undeployed.items() if name in held or group not in groups}
        return endpoint_names - taking - ending

    def _fail_jobs_of(self, endpoint_name: str) -> None:
        count = sum(self._failed(endpoint_name, each) for each in self._queues.messages(endpoint_name))
        if count:
            fields = {"endpoint_name": endpoint_name}
            _log.warning("failed %d jobs for %s, under which nothing is deployed", count, endpoint_name, extra=fields)

    def _failed(self, endpoint_name: str, found: Waiting) -> bool:
        if _is_delayed(found):
            return False
        now = time.time()
        submitted_at = found.envelope.headers.get(keys.SUBMITTED_AT_HEADER)
        since = float(submitted_at) if isinstance(submitted_at, (int, float)) else None
        owner = envelopes.owner(found.envelope.headers)
        job = Job(found.job_id, endpoint_name, since, owner=owner, priority=found.envelope.priority)
        settings, beside = load(), self._queues.beside_records
        names_of = [
            found.queue if beside else "",
            keys.record(job.job_id),
            keys.recent(endpoint_name),
            keys.ENDPOINTS,
            keys.TAKING_JOBS,
            keys.UNKNOWN_ENDPOINTS_FAILED,
        ]
        record = records.failed(job, names.unknown(endpoint_name), now)
        values: list[bytes | str | float] = [found.message if beside else "", job.job_id, endpoint_name, record]
        values += settings.result_ttl_s, since or now, settings.recent_jobs, _plan_of(found, owner)
        is_done = bool(script(records_client(), _FAIL)(names_of, values))
        if is_done and not beside:
            self._queues.remove(found)
        if is_done:
            successors.announce_due()
        return is_done


def _plan_of(found: Waiting, owner: str | None) -> bytes:
    """Return the plan of what follows a job by its message; nothing if a worker would not publish it either."""
    envelope = found.envelope
    with suppress(SignatureWrong, EnvelopeUnreadable, JobArgumentsWrong):
        signing.check_envelope(load().message_keys, envelope)
        try:
            return canvas.plan_of_message(found.job_id, envelope.headers, envelope.json(), owner)
        except SuccessorsTooLong as error:
            return error.plan_of_failure
    return b""


def _is_delayed(found: Waiting) -> bool:
    """Whether its time has not come: its endpoint may be deployed until then."""
    try:
        eta = envelopes.seconds(found.envelope.headers.get("eta"))
    except (ValueError, TypeError, OverflowError):
        return False
    return eta is not None and eta > time.time()


def failed_count() -> int:
    """Return how many jobs were failed so. Raises QueueUnavailable."""
    with translated_errors(changes=False):
        try:
            return int(cast("bytes | None", records_client().get(keys.UNKNOWN_ENDPOINTS_FAILED)) or 0)
        except NoPermissionError:  # the list of rights of an earlier release
            return 0


def duties() -> list[UnknownJobs]:
    """Return this duty, unless it is turned off, or the broker doesn't tell which queues it has."""
    queues = brokers.here() if load().unknown_endpoint_s else None
    return [] if queues is None else [UnknownJobs(queues)]
