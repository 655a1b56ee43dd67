"""Publishes successors that are due, in a thread of each worker and of each background process.

The process that has ended a job publishes at once. Should it die before, another one finds the note. Jobs of ours run
once, as their ids are known; tasks of other programs are sent at least once.
"""

from __future__ import annotations

import logging
import threading
import time
from functools import cached_property
from typing import Any

import redis
from celery import signature, states
from celery.app.task import Context
from kombu.exceptions import OperationalError

from registry.errors import RegistryUnavailable
from workers.errors import QueueUnavailable
from workers.jobs import query
from workers.jobs.endings import successors
from workers.jobs.endings.successors import END_OF, Plan, PlanUnreadable
from workers.pipelines.advancing import Advance
from workers.platform import fast_json
from workers.queues.naming import TASK_NAME
from workers.settings import DAY_S
from workers.successors import celery_app, notes, submission
from workers.successors.celery_app import SuccessorsApp
from workers.successors.full_queues import FullQueues
from workers.successors.notes import Note

_log = logging.getLogger(__name__)

#: Interval of the checks for notes of other processes.
_CHECK_INTERVAL_S = 1.0
_BACKFILL_INTERVAL_S = 10.0
_RETRY_AFTER_OUTAGE_S = 1.0
_LONGEST_RETRY_S = 600.0
#: A note that fails for another reason than an outage is dropped after this time.
_GIVEN_UP_AFTER_S = DAY_S


class Publisher:
    """A duty: publishes notes until it is stopped."""

    name = "publishing successors of jobs"

    def __init__(self) -> None:
        self._wake = threading.Event()
        self._cursor, self._backfills_at = 0, 0.0
        self._advance = Advance()
        self._full = FullQueues()

    @cached_property
    def _app(self) -> SuccessorsApp:
        return celery_app.make()

    def wake(self) -> None:
        """Check at once: this process has noted something."""
        self._wake.set()

    def run(self, stopping: threading.Event) -> None:
        """Publish until `stopping` is set, and then what this process has noted last.

        Raises:
            redis.RedisError: Redis can't be reached.
        """
        while not stopping.is_set():
            self._wake.clear()
            self._publish_due(stopping)
            self._backfill()
            self._wake.wait(_CHECK_INTERVAL_S)
        self._publish_due(threading.Event())

    def _backfill(self) -> None:
        if time.monotonic() >= self._backfills_at:
            self._cursor = notes.backfill_some(self._cursor)
            # A scan that is under way goes on soon.
            self._backfills_at = time.monotonic() + (_CHECK_INTERVAL_S if self._cursor else _BACKFILL_INTERVAL_S)

    def _publish_due(self, stopping: threading.Event) -> None:
        while not stopping.is_set():
            due = notes.lease_due()
            for note in due:
                self._publish(note)
            if len(due) < notes.TAKEN_AT_ONCE:
                return

    def _publish(self, note: Note) -> None:
        again_in_s: float | None = None
        try:
            again_in_s = submission.submit_kept(note, self._full) if note.job else self._follow(note)
        except (QueueUnavailable, OperationalError, RegistryUnavailable, redis.RedisError) as error:
            _log.warning("publishing what follows %s failed (%s); retrying", note.note_id, error)
            again_in_s = _RETRY_AFTER_OUTAGE_S
        except PlanUnreadable as error:
            _log.error("dropping what follows %s: %s", note.note_id, error)
        except Exception:  # noqa: BLE001 - other notes can be published
            again_in_s = min(_LONGEST_RETRY_S, 2.0 ** min(note.tries, 20))
            if time.time() - note.at > _GIVEN_UP_AFTER_S:
                again_in_s = None
            _log.exception("can't publish what follows %s; %s", note.note_id, _next(again_in_s))
        if again_in_s is None:
            notes.settle(note.note_id)
        else:
            notes.postpone(note.note_id, again_in_s)

    def _follow(self, note: Note) -> float | None:
        """Publish what follows the end of a job; return None, or after how many seconds to try again."""
        job_id = note.note_id.removeprefix(END_OF)
        plan = successors.decode(job_id, note.plan)
        if plan.pipeline_id is not None:
            self._advance(plan.pipeline_id, query.shown(job_id, note.record))
            return None
        if note.tries > 1 and plan.chord and plan.group_id and self._is_claimed(plan.group_id):
            return _RETRY_AFTER_OUTAGE_S
        ended = fast_json.loads(note.record)
        with celery_app.following(job_id, plan.owner):
            self._follow_canvas(job_id, plan, ended)
        return None

    def _is_claimed(self, group_id: str) -> bool:
        """Whether a process sends the body of this chord, or has died while it did.

        Celery has one process send it, for as long as its claim lives, and tells no other that it doesn't. So a note
        that was taken before is not settled until the body is sent, or the claim is over.
        """
        backend = self._app.backend
        claim, size = (backend.get_key_for_group(group_id, suffix) for suffix in (".c", ".s"))
        return backend.client.get(claim) not in (None, b"done") and bool(backend.client.exists(size))

    def _follow_canvas(self, job_id: str, plan: Plan, ended: dict[str, Any]) -> None:
        """Do what a stock worker does after a task, with Celery's own code."""
        request, result, backend = _request(job_id, plan), ended["result"], self._app.backend
        if ended["status"] == states.SUCCESS:
            parents = {"parent_id": job_id, "root_id": plan.root_id or job_id}
            for each in plan.callbacks:
                signature(each, app=self._app).apply_async((result,), **parents)
            if plan.chain:
                head = signature(plan.chain[-1], app=self._app)
                head.apply_async((result,), chain=list(plan.chain[:-1]), **parents)
            backend.mark_as_done(job_id, result, request)
        elif ended["status"] == states.FAILURE:
            error = backend.exception_to_python(result)
            backend.mark_as_failure(job_id, error, ended.get("traceback"), request=request)
        else:
            backend.mark_as_revoked(job_id, ended.get("reason") or "revoked", request=request)


def _request(job_id: str, plan: Plan) -> Context:
    """Return what Celery's code needs to know of the ended task."""
    return Context(
        {
            "id": job_id,
            "task": TASK_NAME,
            "errbacks": list(plan.errbacks),
            "chain": list(plan.chain),
            "chord": plan.chord,
            "group": plan.group_id,
            "group_index": plan.group_index,
            "root_id": plan.root_id,
            "parent_id": plan.parent_id,
            "delivery_info": {},
            "args": [],
            "kwargs": {},
        }
    )


def _next(again_in_s: float | None) -> str:
    return "it is given up" if again_in_s is None else f"trying again in {again_in_s:g} s"
