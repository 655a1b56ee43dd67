"""A job for each of many inputs: submitted in bulk, a window at a time, and their results in order.

The window bounds what is in memory here and in the queue there, so the inputs may be endless.
"""

from __future__ import annotations

import re
import time
import uuid
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Any

from api.client import arrays
from api.client.errors import (
    ClientError,
    InputNotJson,
    JobNotFound,
    RequestInvalid,
    TooMuch,
    WaitTimedOut,
    unsuccessful,
)
from api.client.flows.calls import call
from api.client.flows.map_options import Options
from api.client.flows.prediction import UNFINISHED, result_of
from api.client.flows.progress import Progress
from api.client.steps import Document, Emit, Flow, Pause, Request, Take, Taken, path_of

#: As many as are soon checked and stored, far below the service's limits.
_JOBS_A_SUBMIT = 1_000
_BYTES_A_SUBMIT = 2_000_000
#: What the service looks up without holding up others.
_JOBS_A_LOOK = 500
#: Inputs that come slowly are submitted after this time, however few.
_GATHER_S = 0.25
#: How long a look-up may be held: until all its jobs have ended, or until the caller should get those that have.
_HELD_S = 1.0
_HELD_UNORDERED_S = 0.25
_PAUSE_S = 0.1
#: The service says a minute where it knows no rate yet; to be asked for room more often is no burden.
_LONGEST_FULL_S = 5.0
_TOO_LONG = 413
_LINE = re.compile(r"line (\d+): ?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Item:
    index: int
    line: bytes
    of_array: bool


def run(options: Options, progress: Progress) -> Flow[None]:
    """Emit a result for each input that is taken: the prediction, or the error that it is instead."""
    with progress:
        yield from _Map(options, progress).run()


class _Map:
    def __init__(self, options: Options, progress: Progress) -> None:
        self._options = options
        self._progress = progress
        #: Taken and not yet submitted.
        self._pending: deque[_Item] = deque()
        #: Submitted and not known to have ended, by job id, oldest first.
        self._running: dict[str, _Item] = {}
        #: Ended and not yet emitted, by index.
        self._results: dict[int, Any] = {}
        self._taken = 0
        self._next_index = 0
        self._exhausted = False
        self._most = self._jobs_a_submit = min(_JOBS_A_SUBMIT, options.window)
        self._submits_at = 0.0
        #: How many own jobs have to end until a full queue has room again, sooner perhaps than the service can tell.
        self._room_wanted = 0
        self._moved_at = time.monotonic()

    def run(self) -> Flow[None]:
        while True:
            yield from self._take()
            yield from self._submit()
            yield from self._emit()
            if self._exhausted and not self._pending and not self._running:
                return
            yield from self._look()
            yield from self._emit()

    @property
    def _room(self) -> int:
        return self._options.window - len(self._pending) - len(self._running) - len(self._results)

    def _take(self) -> Flow[None]:
        most = min(self._most - len(self._pending), self._room)
        if self._exhausted or most <= 0:
            return
        taken: Taken = yield Take(most, _GATHER_S)
        self._exhausted = taken.ended
        for value in taken.inputs:
            index, self._taken = self._taken, self._taken + 1
            try:
                line = arrays.to_json({"input": value, **self._options.own})
            except InputNotJson as error:
                self._end(index, error)
            else:
                self._pending.append(_Item(index, line, arrays.is_array(value)))
        # However long the inputs took, the caller does not wait for the service yet.
        self._moved()

    def _submit(self) -> Flow[None]:
        if not self._pending or time.monotonic() < self._submits_at:
            return
        chunk = self._chunk()
        try:
            job_ids = yield from self._submitted(chunk)
        except TooMuch as error:
            # Nothing was stored. Own jobs may be what fills the queue, so these are looked at meanwhile.
            if error.code == "queue_full":
                self._jobs_a_submit = max(1, len(chunk) // 2)
                self._room_wanted = min(self._jobs_a_submit, len(self._running))
            self._submits_at = time.monotonic() + min(error.retry_after_s or _PAUSE_S, _LONGEST_FULL_S)
            return
        except RequestInvalid as error:
            self._set_apart(chunk, error)
            return
        for item, job_id in zip(chunk, job_ids, strict=True):
            self._running[job_id] = self._pending.popleft()
            assert self._running[job_id] is item  # noqa: S101 - the chunk is the beginning of what is pending
        self._jobs_a_submit = min(self._most, 2 * self._jobs_a_submit)
        self._moved()

    def _chunk(self) -> list[_Item]:
        chunk: list[_Item] = []
        size_bytes = 0
        for item in self._pending:
            size_bytes += len(item.line) + 1
            if chunk and (len(chunk) == self._jobs_a_submit or size_bytes > _BYTES_A_SUBMIT):
                break
            chunk.append(item)
        return chunk

    def _submitted(self, chunk: list[_Item]) -> Flow[list[str]]:
        """Send a chunk under one key, so that however often it is sent, no job is there twice."""
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": str(uuid.uuid4())}
        request = Request(
            "POST",
            path_of("predict", self._options.endpoint_name, "bulk"),
            headers=headers,
            content=b"\n".join(item.line for item in chunk),
            repeats_when_full=False,
        )
        accepted = yield from call(request, time.monotonic() + self._options.idle_timeout_s)
        job_ids: list[str] = accepted["job_ids"]
        return job_ids

    def _set_apart(self, chunk: list[_Item], error: RequestInvalid) -> None:
        """Give a refused input its error, or make chunks smaller; what came before a refused input is right."""
        place = _LINE.match(error.field or "")
        line = int(place[1]) if place else error.problem.get("line")
        most = error.problem.get("most")
        if line is not None or len(chunk) == 1:
            at = 0 if line is None else line - 1
            self._end(chunk[at].index, _about(chunk[at].index, error))
            del self._pending[at]
            self._jobs_a_submit = at or max(1, len(chunk) // 2)
        elif most is not None or error.status == _TOO_LONG:
            self._jobs_a_submit = max(1, min(len(chunk) // 2, most or len(chunk)))
            self._most = self._jobs_a_submit if most else self._most
        else:
            raise error

    def _look(self) -> Flow[None]:
        if not self._running:
            if self._pending:
                yield Pause(max(0.0, min(_HELD_S, self._submits_at - time.monotonic())))
            self._check_idle()
            return
        job_ids = list(islice(self._running, _JOBS_A_LOOK))
        held_s, began = self._held_s(), time.monotonic()
        found = yield from self._looked_up(job_ids, held_s)
        before = len(self._running)
        for job in found["jobs"]:
            self._settle(job)
        for job_id in found["unknown_job_ids"]:
            item = self._running.pop(job_id)
            self._end(item.index, _unknown(job_id))
        if len(self._running) < before:
            self._moved()
        elif time.monotonic() - began < held_s / 2:  # it holds no more requests
            yield Pause(_PAUSE_S)
        self._check_idle()

    def _looked_up(self, job_ids: list[str], held_s: float) -> Flow[Document]:
        request = Request(
            "POST",
            "/jobs/lookup",
            query={"wait": round(held_s, 3)},
            headers={"Content-Type": "application/json"},
            content=arrays.to_json({"job_ids": job_ids}),
            wait_s=held_s,
        )
        return call(request, time.monotonic() + self._options.idle_timeout_s)

    def _held_s(self) -> float:
        """How long a look may take: no longer than until there is something else to do."""
        now = time.monotonic()
        longest = _HELD_S if self._options.ordered else _HELD_UNORDERED_S
        if self._pending:
            return max(0.0, min(longest, self._submits_at - now))
        return longest if self._exhausted or self._room <= 0 else 0.0

    def _settle(self, job: Document) -> None:
        if job["status"] in UNFINISHED:
            if not self._options.ordered:  # others may have ended
                self._running[job["job_id"]] = self._running.pop(job["job_id"])
            return
        item = self._running.pop(job["job_id"])
        if self._room_wanted:
            self._room_wanted -= 1
            self._submits_at = self._submits_at if self._room_wanted else 0.0
        if job["status"] == "succeeded":
            self._end(item.index, result_of(job, of_array=item.of_array))
        else:
            self._end(item.index, unsuccessful(job))

    def _end(self, index: int, result: Any) -> None:
        failed = isinstance(result, ClientError)
        if failed:
            result.index = index
        self._results[index] = result
        self._progress.ended(failed=failed)

    def _emit(self) -> Flow[None]:
        while self._results:
            index = self._next_index if self._options.ordered else next(iter(self._results))
            if index not in self._results:
                return
            result = self._results.pop(index)
            self._next_index = index + 1
            if self._options.raises and isinstance(result, ClientError):
                raise result
            yield Emit(result if self._options.ordered else (index, result))
            # However long the caller took, the service did not cause it.
            self._moved()

    def _moved(self) -> None:
        self._moved_at = time.monotonic()

    def _check_idle(self) -> None:
        if time.monotonic() - self._moved_at > self._options.idle_timeout_s:
            raise WaitTimedOut(
                f"No job of {self._options.endpoint_name!r} has ended for {self._options.idle_timeout_s:g} s; "
                f"{len(self._running)} are unfinished, and go on."
            )


def _about(index: int, error: RequestInvalid) -> RequestInvalid:
    """Say of one input what was said of a line."""
    problem = {**error.problem, "field": _LINE.sub("", error.field or "", count=1) or None}
    message = f"Input {index}: {_LINE.sub('', str(error), count=1)}"
    return type(error)(message, code=error.code, status=error.status, problem=problem, request_id=error.request_id)


def _unknown(job_id: str) -> JobNotFound:
    return JobNotFound(
        f"There is no job {job_id!r} any more: its record has expired before it was asked for.",
        problem={"job_id": job_id},
    )
