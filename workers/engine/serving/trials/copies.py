"""Copies of ended jobs, which the other version of a trial predicts as well when nothing else waits for its host.

Nothing is owed for a copy: it is shed when the backlog is full, and lost with its worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from msgspec import Raw
from redis import RedisError

from registry.deployments import DesiredDeployment
from workers.engine.context import Context
from workers.engine.serving import journal
from workers.engine.serving.trials import arm_counts
from workers.hosts.worker_side.host import Answer, HostGone, HostTooSlow, RemoteHost
from workers.journal.exclusion import Exclusion
from workers.measures import arms
from workers.measures.arms import Arm
from workers.platform import fast_json
from workers.platform.texts import short_repr

_log = logging.getLogger(__name__)
#: The backlog of one pool.
MOST_COPIES = 1_000
_MOST_BYTES = 32 * 1024 * 1024
_encode = msgspec.json.Encoder().encode


class PairAnswer(msgspec.Struct, omit_defaults=True):
    """As `judging.comparison.pairs.Answer`; predictions stay the JSON that they are."""

    version: str
    predictions: list[Raw] | None = None
    error_code: str | None = None
    error_message: str | None = None
    predict_ms: float | None = None
    batch_size: int | None = None
    total_ms: float | None = None


class _Pair(msgspec.Struct):
    job_id: str
    inputs: Raw
    stable: PairAnswer
    candidate: PairAnswer


@dataclass(frozen=True, slots=True)
class Copy:
    """A job that has ended, and its answer."""

    trial_id: str
    endpoint_name: str
    job_id: str
    rows: list[Raw]
    size_bytes: int
    #: The arm that has answered it; the copy is for the other one.
    answered_by: Arm
    answer: PairAnswer


class Copies:
    """The copies that wait for the hosts of one pool; belongs to one event loop."""

    def __init__(self, context: Context) -> None:
        self.arrived = asyncio.Event()
        #: Called when a host of this pool was lost with copies.
        self.on_lost: Callable[[], None] = lambda: None
        self._context = context
        self._waiting: deque[Copy] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        """The number of waiting copies."""
        return len(self._waiting)

    def put(self, copy: Copy) -> None:
        """Add a copy, or shed it if there are too many."""
        if len(self._waiting) >= MOST_COPIES or self._bytes + copy.size_bytes > _MOST_BYTES:
            arm_counts.count(self._context, copy.trial_id, {arms.COPIES_SHED: 1})
            return
        self._waiting.append(copy)
        self._bytes += copy.size_bytes
        self.arrived.set()

    def take(self, most_rows: int) -> list[Copy]:
        """Remove and return copies for one batch: one for the stable version, whose next job must not wait long."""
        taken: list[Copy] = []
        rows = 0
        while self._waiting and (not taken or rows + len(self._waiting[0].rows) <= most_rows):
            copy = self._waiting.popleft()
            taken.append(copy)
            rows += len(copy.rows)
            self._bytes -= copy.size_bytes
            if copy.answered_by is Arm.CANDIDATE:
                break
        if not self._waiting:
            self.arrived.clear()
        return taken

    def clear(self) -> None:
        """Remove all copies: their trial is over."""
        self._waiting.clear()
        self._bytes = 0
        self.arrived.clear()

    async def predict(
        self, host: RemoteHost, copies: list[Copy], deployment: DesiredDeployment, rows_at_once: int
    ) -> None:
        """Have a host predict copies, and add the pairs of answers to the stream."""
        rows = [row for copy in copies for row in copy.rows]
        trial_id = copies[0].trial_id
        try:
            answer = await host.predict(rows, rows_at_once, deployment.settings.timeout_s)
        except HostGone as error:
            _log.warning("%d copies of jobs of %s were lost: %s", len(copies), copies[0].endpoint_name, error)
            by = Arm.CANDIDATE if copies[0].answered_by is Arm.STABLE else Arm.STABLE
            what = arms.COPIES_TIMED_OUT if isinstance(error, HostTooSlow) else arms.COPIES_LOST_HOSTS
            arm_counts.count(self._context, trial_id, {arms.COPIES_LOST: len(copies), arms.of_arm(by, what): 1})
            self.on_lost()
            return
        paired = _pairs(copies, answer, deployment)
        failed = sum(failed for _, failed in paired)
        arm_counts.count(
            self._context, trial_id, {arms.COPIES_PREDICTED: len(paired) - failed, arms.COPIES_FAILED: failed}
        )
        pairs = [pair for pair, _ in paired if pair is not None]
        self._context.in_background(self._write(trial_id, copies[0].endpoint_name, pairs))

    async def _write(self, trial_id: str, endpoint_name: str, pairs: list[bytes]) -> None:
        try:
            await arms.add_pairs(self._context.records, trial_id, endpoint_name, pairs)
        except (RedisError, OSError) as error:
            _log.warning("lost %d pairs of trial %s: %s", len(pairs), trial_id, error)


def _pairs(copies: list[Copy], answer: Answer, deployment: DesiredDeployment) -> list[tuple[bytes | None, bool]]:
    """Return each pair as JSON, and whether the copy has failed; as in the journal, without the excluded fields."""
    found, start = list[tuple[bytes | None, bool]](), 0
    excluded = journal.exclusion(*deployment.settings.journal_exclude)
    for copy in copies:
        rows = range(start, start + len(copy.rows))
        start = rows.stop
        bad = next((row for row in rows if row in answer.errors), None)
        theirs = PairAnswer(deployment.version, predict_ms=answer.predict_ms, batch_size=len(answer.outputs))
        if bad is None:
            theirs.predictions = answer.outputs[rows.start : rows.stop]
        else:
            error = answer.errors[bad]
            theirs.error_code, theirs.error_message = "prediction_failed", f"{error.type}: {error.message}"
        stable, candidate = (copy.answer, theirs) if copy.answered_by is Arm.STABLE else (theirs, copy.answer)
        found.append((_encoded(copy, stable, candidate, excluded), bad is not None))
    return found


def _encoded(copy: Copy, stable: PairAnswer, candidate: PairAnswer, excluded: Exclusion | None) -> bytes | None:
    """Return a pair as JSON; None if its input can't be written."""
    if excluded is not None:
        # The text of an error may repeat an excluded field.
        stable, candidate = (msgspec.structs.replace(each, error_message=None) for each in (stable, candidate))
    try:
        rows = copy.rows if excluded is None else journal.without_excluded(copy.rows, excluded)
        inputs = Raw(fast_json.dumps_celery(rows))
        return _encode(_Pair(copy.job_id, inputs, stable, candidate))
    except (ValueError, TypeError, RecursionError) as error:
        _log.warning("the answers to job %s can't be compared: %s", copy.job_id, short_repr(error))
        return None
