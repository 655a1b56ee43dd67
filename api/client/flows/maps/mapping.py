"""A job for each of many inputs: submitted in bulk, a window at a time, and their results in order.

The window bounds what is in memory here and in the queue there, so the inputs may be endless.
"""

from __future__ import annotations

import math
import time
import uuid
from collections import deque
from itertools import groupby, islice
from typing import Any

from api.client import arrays
from api.client.errors import (
    ClientError,
    JobNotFound,
    RequestInvalid,
    TooMuch,
    WaitTimedOut,
    unsuccessful,
)
from api.client.flows.calls import call, paired
from api.client.flows.maps import items as map_items
from api.client.flows.maps.items import Item
from api.client.flows.maps.options import Options
from api.client.flows.maps.progress import Progress
from api.client.flows.prediction import UNFINISHED
from api.client.options import INPUTS_A_KEY
from api.client.steps import Document, Emit, Flow, Pause, Request, Take, Taken, path_of

#: As many as are soon checked and stored, far below the service's limits.
_JOBS_A_SUBMIT = 1_000
_BYTES_A_SUBMIT = 2_000_000
#: Inputs that come slowly are submitted after this time, however few.
_GATHER_S = 0.25
#: How long a look-up may be held: until all its jobs have ended, or until the caller should get those that have.
_HELD_S = 1.0
_HELD_UNORDERED_S = 0.25
_PAUSE_S = 0.1
#: The service says a minute where it knows no rate yet; to be asked for room more often is no burden.
_LONGEST_FULL_S = 5.0
_TOO_LONG = 413


def run(options: Options, progress: Progress) -> Flow[None]:
    """Emit a result for each input that is taken: the prediction, or the error that it is instead."""
    with progress:
        yield from _Map(options, progress).run()


class _Map:
    def __init__(self, options: Options, progress: Progress) -> None:
        self._options = options
        self._progress = progress
        #: Taken and not yet submitted.
        self._pending: deque[Item] = deque()
        #: Submitted and not known to have ended, by job id, oldest first.
        self._running: dict[str, Item] = {}
        #: Ended and not yet emitted, by index.
        self._results: dict[int, Any] = {}
        self._taken = self._emitted = self._next_index = options.first_index
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
        return self._options.window - (self._taken - self._emitted)

    def _take(self) -> Flow[None]:
        wanted = self._wanted()
        if self._exhausted or wanted <= 0:
            return
        # Under a key the same inputs go into the same requests, however slowly they come.
        taken: Taken = yield Take(wanted, _GATHER_S if self._options.key is None else math.inf)
        self._exhausted = taken.ended
        numbered = list(enumerate(taken.inputs, self._taken))
        self._taken += len(numbered)
        if self._options.key is not None:
            self._jobs_a_submit = self._most  # whatever the requests before were like
        for number, some in groupby(numbered, lambda each: each[0] // self._options.inputs_a_job):
            self._prepare(number, list(some))
        # However long the inputs took, the caller does not wait for the service yet.
        self._moved()

    def _wanted(self) -> int:
        """How many inputs to take: as many as the next request has room for."""
        if self._options.key is None:
            most = self._most * self._options.inputs_a_job - sum(len(each.inputs) for each in self._pending)
            return min(most, self._room)
        most = INPUTS_A_KEY - self._taken % INPUTS_A_KEY
        return most if most <= self._room and not self._pending else 0

    def _prepare(self, number: int, inputs: list[map_items.Numbered]) -> None:
        """Make a job of inputs; an input that is an error already is its own result."""
        for index, value in inputs:
            if isinstance(value, ClientError):
                self._end(index, value)
        right = [each for each in inputs if not isinstance(each[1], ClientError)]
        if right:
            group = number * self._options.inputs_a_job // INPUTS_A_KEY, -1
            items, errors = map_items.valid_items(right, self._options.own, group)
            self._pending += items
            for index, error in errors:
                self._end(index, error)

    def _submit(self) -> Flow[None]:
        if not self._pending or time.monotonic() < self._submits_at:
            return
        chunk = self._chunk()
        try:
            job_ids = yield from self._submitted(chunk)
        except TooMuch as error:
            self._hold_back(chunk, error)
            return
        except RequestInvalid as error:
            self._set_apart(chunk, error)
            return
        for item, job_id in paired(chunk, job_ids):
            self._running[job_id] = self._pending.popleft()
            assert self._running[job_id] is item  # noqa: S101 - the chunk is the beginning of what is pending
        self._jobs_a_submit = min(self._most, 2 * self._jobs_a_submit)
        self._moved()

    def _hold_back(self, chunk: list[Item], error: TooMuch) -> None:
        """Submit later: nothing was stored. Own jobs may be what fills the queue, so these are looked at meanwhile."""
        if error.code == "queue_full":
            if self._options.key is None:
                self._jobs_a_submit = max(1, len(chunk) // 2)
            self._room_wanted = min(len(chunk), self._jobs_a_submit, len(self._running))
        self._submits_at = time.monotonic() + min(error.retry_after_s or _PAUSE_S, _LONGEST_FULL_S)

    def _chunk(self) -> list[Item]:
        chunk: list[Item] = []
        size_bytes = 0
        for item in self._pending:
            size_bytes += len(item.line) + 1
            if chunk and (len(chunk) == self._jobs_a_submit or size_bytes > _BYTES_A_SUBMIT):
                break
            if chunk and self._options.key is not None and item.group != chunk[0].group:
                break
            chunk.append(item)
        return chunk

    def _submitted(self, chunk: list[Item]) -> Flow[list[str]]:
        """Send a chunk under one key, so that however often it is sent, no job is there twice."""
        name = self._options.key
        key = str(uuid.uuid4()) if name is None else map_items.key_of(name, chunk)
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": key}
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

    def _set_apart(self, chunk: list[Item], error: RequestInvalid) -> None:
        """Give a refused input its error, or make chunks smaller; what came before a refused input is right."""
        line, most = map_items.line_of(error), error.problem.get("most")
        if line is not None or (len(chunk) == 1 and len(chunk[0].inputs) == 1):
            at = 0 if line is None else line - 1
            self._refuse(at, error)
            if self._options.key is None:
                self._jobs_a_submit = at or max(1, len(chunk) // 2)
        elif most is not None or error.status == _TOO_LONG:
            if len(chunk) == 1:
                self._replace(0, map_items.singles(chunk[0], self._options.own))
            self._jobs_a_submit = max(1, min(len(chunk) // 2, most or len(chunk)))
            self._most = self._jobs_a_submit if most else self._most
        else:
            raise error

    def _refuse(self, at: int, error: RequestInvalid) -> None:
        """Take the input that was refused out of a pending item, or the item apart if nothing says which it is."""
        item = self._pending[at]
        row = map_items.row_of(error, item)
        if row is None:
            self._replace(at, map_items.singles(item, self._options.own))
            return
        index = item.inputs[row][0]
        self._end(index, map_items.about(index, error))
        self._replace(at, map_items.without(item, row, self._options.own))

    def _replace(self, at: int, items: list[Item]) -> None:
        del self._pending[at]
        for offset, item in enumerate(items):
            self._pending.insert(at + offset, item)

    def _look(self) -> Flow[None]:
        if not self._running:
            if self._pending:
                yield Pause(max(0.0, min(_HELD_S, self._submits_at - time.monotonic())))
            self._check_idle()
            return
        job_ids = list(islice(self._running, self._options.jobs_a_look))
        held_s, began = self._held_s(), time.monotonic()
        found = yield from self._looked_up(job_ids, held_s)
        before = len(self._running)
        for job in found["jobs"]:
            self._settle(job)
        for job_id in found["unknown_job_ids"]:
            for index, _ in self._running.pop(job_id).inputs:
                self._end(index, _unknown(job_id))
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
            for index, result in item.results(job):
                self._end(index, result)
        elif job["status"] == "failed" and len(item.inputs) > 1:
            # One input may have failed all: each for itself now, before those that come later.
            self._pending.extendleft(reversed(map_items.singles(item, self._options.own)))
        else:
            for index, _ in item.inputs:
                self._end(index, unsuccessful(job))

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
            self._emitted += 1
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


def _unknown(job_id: str) -> JobNotFound:
    return JobNotFound(
        f"There is no job {job_id!r} any more: its record has expired before it was asked for.",
        problem={"job_id": job_id},
    )
