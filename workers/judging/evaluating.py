"""Evaluates versions: a duty of the background process.

One process has an evaluation at a time, for as long as it goes on saving; if it is killed, another one goes on from
what was saved last. A step is saved before its records are deleted, and its replays have ids of their own, so each job
counts once.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import redis

from registry.database import default_database
from registry.errors import EvaluationChanged, RegistryError, RegistryUnavailable
from registry.judging import evaluations
from registry.judging.evaluations import CANDIDATE, STABLE, Evaluation, Hold
from registry.trials.trials import EvaluationState
from workers.deployments import status
from workers.errors import PoisonJob, QueueUnavailable, WorkerError
from workers.judging import hosts, replays, sample
from workers.judging.comparison.comparison import Comparison
from workers.judging.comparison.pairs import Answer, ComparisonOptions, Pair
from workers.judging.replays import CONTROL
from workers.judging.sample import SampledJob
from workers.queues import dealing
from workers.settings import load

_log = logging.getLogger(__name__)

_CHECK_INTERVAL_S = 1.0
#: A process that has saved nothing for so long is followed by another one.
HELD_S = 20.0
_SAVE_INTERVAL_S = 3.0
_POLL_INTERVAL_S = 0.1
#: Evaluations that go on side by side in one process.
_SIDE_BY_SIDE = 2
#: Jobs and bytes of a step, and the steps whose replays are submitted before the first of them is compared.
_STEP_JOBS = 100
_STEP_BYTES = 4 * 1024 * 1024
_STEPS_IN_FLIGHT = 3
#: Workers have this long beside `load_timeout_s` to start the hosts.
_START_S = 60.0
#: A candidate that has killed its hosts so often, for more than half of the jobs, is replayed no further.
_MOST_LOST_JOBS = 30
#: After its end, an evaluation is cleared of what no worker removes.
_FORCED_AFTER_S = 120.0
_CLEAR_AGAIN_S = 2.0
#: After an error that another try may not meet, the next one follows later each time; after so many without a step in
#: between (about a quarter of an hour) the evaluation fails.
MOST_TRIES = 8
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 300.0


def duties() -> list[Evaluator]:
    """Return the duties of one background process."""
    return [Evaluator() for _ in range(_SIDE_BY_SIDE)]


class Evaluator:
    """Works on one evaluation after the other; any number of them may run, in any number of processes."""

    name = "evaluating versions"

    def __init__(self) -> None:
        self.holder = f"{socket.gethostname()[:30]}:{os.getpid()}:{uuid4().hex[:12]}"

    def run(self, stopping: threading.Event) -> None:
        """Evaluate until `stopping` is set.

        Raises:
            redis.RedisError, QueueUnavailable: Redis or the broker can't be reached.
            RegistryUnavailable: the registry can't be reached.
        """
        while not stopping.wait(_CHECK_INTERVAL_S):
            while not stopping.is_set() and self.work(stopping):
                pass

    def work(self, stopping: threading.Event) -> bool:
        """Work on one evaluation; return whether there was one. Raises as `run`."""
        with default_database().session() as session:
            found = evaluations.hold(session, self.holder, HELD_S)
            session.commit()
        if found is None:
            return False
        mine = Hold(found.evaluation_id, self.holder, HELD_S)
        try:
            _Run(found, mine, stopping).go()
        except EvaluationChanged as error:
            _log.info("%s", error)  # it was cancelled, or another process goes on
        except (redis.RedisError, QueueUnavailable, RegistryUnavailable):
            raise  # nothing goes on without them, and no try is counted
        except (RegistryError, WorkerError, OSError) as error:
            _try_again_later(mine, error)
        except Exception as error:  # noqa: BLE001 - another try would end in the same way
            _log.exception("evaluation %s failed", found.evaluation_id)
            _fail(mine, f"Unexpected error: {type(error).__name__}. See the log of the background process.")
        finally:
            if stopping.is_set():
                with default_database().session() as session:
                    evaluations.release(session, mine)
                    session.commit()
        return True


def _try_again_later(mine: Hold, error: Exception) -> None:
    """Put an evaluation off after an error, such as one of the artifact store; end it after too many of them."""
    with default_database().session() as session:
        found = evaluations.find(session, mine.evaluation_id)
        tries = int(found.progress.get("tries", 0)) + 1
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(tries - 1, 10))
        is_over = found.is_open and tries >= MOST_TRIES
        shown = _shown(error)
        if not is_over:
            # What is left of an ended one must be removed some day: its sample has inputs.
            evaluations.put_off(session, mine, pause_s, {**found.progress, "tries": tries, "last_error": shown})
            session.commit()
    if is_over:
        _log.error("evaluation %s fails after %d tries: %s", mine.evaluation_id, tries, error)
        _fail(mine, f"It was tried {tries} times; the last error: {shown}")
    else:
        _log.warning("evaluation %s goes on in %.0f s (%d tries): %s", mine.evaluation_id, pause_s, tries, error)


def _shown(error: Exception) -> str:
    """Return what clients and webhooks get of an error; the text of an OSError may name folders of the machine."""
    if isinstance(error, OSError):
        reason = f": {error.strerror}" if error.strerror else ""
        return f"Files of the evaluation can't be read or written{reason}. See the log of the background process."
    return str(error)


def _fail(mine: Hold, error: str) -> None:
    with default_database().session() as session:
        evaluations.fail(session, mine, error)
        session.commit()
    status.nudge()


@dataclass
class _Step:
    """Some jobs that are submitted and compared together."""

    jobs: list[SampledJob]
    #: How many jobs of the sample there are up to its end, those among them that were forgotten.
    ends_at: int
    #: By the id of the replay: the version that it runs on, and the job.
    pending: dict[str, tuple[str, SampledJob]] = field(default_factory=dict)
    #: By the id of the job, and by version.
    answers: dict[str, dict[str, Answer]] = field(default_factory=dict)


class _Run:
    """The work of one process on one evaluation."""

    def __init__(self, evaluation: Evaluation, mine: Hold, stopping: threading.Event) -> None:
        self._evaluation = evaluation
        self._mine = mine
        self._stopping = stopping
        self._progress: dict[str, Any] = {"stopped": None, **evaluation.progress}
        saved = evaluation.comparison or {}
        self._facts: dict[str, dict[str, Any]] = saved.get("facts", {})
        state = saved.get("comparison")
        self._comparison = Comparison.restored(state) if state else Comparison(_options(evaluation))
        self._saved_at = time.monotonic()

    def go(self) -> None:
        """Do what is left of the evaluation, until it has ended and nothing is left of it."""
        if self._evaluation.state is EvaluationState.WAITING:
            self._load()
        if self._evaluation.state is EvaluationState.LOADING and self._hosts_are_ready():
            self._change(evaluations.replay)
        if self._evaluation.state is EvaluationState.REPLAYING:
            self._replay()
        if not self._evaluation.is_open:
            self._clear()

    def _change(self, transition: Any, *values: Any, **named: Any) -> None:
        # Another revision has forgotten jobs that this one still knows: the next try goes on from what is stored.
        mine = replace(self._mine, revision=self._evaluation.revision)
        with default_database().session() as session:
            self._evaluation = transition(session, mine, *values, **named)
            session.commit()
        self._saved_at = time.monotonic()

    def _end(self, transition: Any, *values: Any) -> None:
        self._change(transition, *values)
        status.nudge()
        _log.info("evaluation %s has %s", self._evaluation.evaluation_id, self._evaluation.state)

    def _load(self) -> None:
        """Choose the jobs, and let the workers start hosts."""
        evaluation = self._evaluation
        if evaluation.uses_dataset:
            count = int(evaluation.source["jobs"])
        elif not (count := self._chosen()):
            reason = (
                f"The journal has no jobs of {evaluation.endpoint_name} in this time that version "
                f"{evaluation.stable_version} answered. Is `journal` set? See `queuecast docs evaluate-a-version`."
            )
            self._end(evaluations.fail, reason)
            return
        self._progress |= {"jobs": count, "replayed": 0, "control": 0, "errors": {CANDIDATE: 0, STABLE: 0}, "lost": 0}
        self._change(evaluations.load, self._progress)
        status.nudge()

    def _chosen(self) -> int:
        """Choose the jobs in a thread of their own, while this one keeps the evaluation: the journal may be long."""
        found: list[int] = []
        errors: list[Exception] = []
        outdated = threading.Event()

        def choose() -> None:
            try:
                found.append(sample.choose(self._evaluation, outdated))
            except Exception as error:  # noqa: BLE001 - it is raised in the other thread
                errors.append(error)

        thread = threading.Thread(target=choose, name="choosing jobs", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(_POLL_INTERVAL_S)
                self._keep()
        finally:
            # If it wrote later, the sample of the next try would have jobs that were forgotten since.
            outdated.set()
            thread.join()
        if errors:
            raise errors[0]
        return found[0]

    def _keep(self) -> None:
        """Save now and then, which also shows whether the evaluation was cancelled. Raises EvaluationChanged."""
        if time.monotonic() - self._saved_at >= _SAVE_INTERVAL_S:
            self._change(evaluations.save)

    def _hosts_are_ready(self) -> bool:
        """Wait until both versions are loaded; end the evaluation if one can't be."""
        started_at = self._evaluation.started_at
        ends_at = (started_at.timestamp() if started_at else time.time()) + load().load_timeout_s + _START_S
        wanted = (CANDIDATE, STABLE) if self._needs_stable else (CANDIDATE,)
        while not self._stopping.wait(_POLL_INTERVAL_S):
            seen = hosts.seen(self._evaluation)
            self._facts = seen.facts(self._facts)
            if all(seen.ready(arm) for arm in wanted):
                return True
            for arm in wanted:
                if error := seen.load_error(arm):
                    self._end(evaluations.fail, f"No worker can load {self._named(arm)}: {error}")
                    return False
            if seen.is_building:  # which has a time limit of its own
                ends_at = time.time() + load().load_timeout_s + _START_S
            elif time.time() >= ends_at:
                self._end(evaluations.fail, self._why_not_ready(seen, wanted))
                return False
            self._keep()
        return False

    def _why_not_ready(self, seen: hosts.ReplayHosts, wanted: Iterable[str]) -> str:
        if not seen.worker_count:
            return f"No worker of group {self._evaluation.worker_group!r} is running. Start one, and evaluate again."
        missing = next((arm for arm in wanted if not seen.ready(arm)), CANDIDATE)
        return f"No worker has loaded {self._named(missing)} in time."

    def _named(self, arm: str) -> str:
        of = self._evaluation
        return f"{of.model_name} version {of.version if arm == CANDIDATE else of.stable_version}"

    @property
    def _needs_stable(self) -> bool:
        return self._evaluation.uses_dataset or self._evaluation.options["control"] > 0

    def _replay(self) -> None:
        """Replay what is left, step by step, and make the report."""
        self._progress.setdefault("replay_started_at", time.time())
        ahead: deque[_Step] = deque()
        for step in self._left():
            self._submit(step)
            ahead.append(step)
            if len(ahead) >= _STEPS_IN_FLIGHT and not self._finished(ahead.popleft()):
                break
        else:
            while ahead and self._finished(ahead.popleft()):
                pass
        if self._stopping.is_set():
            return
        if not self._progress["replayed"]:
            self._end(evaluations.fail, f"No job was replayed: {self._progress['stopped'] or 'the sample is gone.'}")
            return
        self._facts = hosts.seen(self._evaluation).facts(self._facts)
        self._end(evaluations.succeed, self._comparison.report(self._facts), self._progress)

    def _left(self) -> Iterator[_Step]:
        """Yield the jobs that are not compared yet, in steps."""
        done, jobs, size_bytes = self._progress.get("position", self._progress["replayed"]), list[SampledJob](), 0
        number = 0
        for number, job in enumerate(sample.read(self._evaluation.evaluation_id), 1):
            if number <= done or job.is_forgotten:
                continue
            jobs.append(job)
            size_bytes += len(job.encoded())
            if len(jobs) == _STEP_JOBS or size_bytes >= _STEP_BYTES:
                yield _Step(jobs, number)
                jobs, size_bytes = [], 0
        if jobs:
            yield _Step(jobs, number)

    def _arms(self, job: SampledJob) -> list[str]:
        """Return the replays of a job: a share of the jobs also runs on the stable version, to show the noise floor."""
        salt = f"control {self._evaluation.evaluation_id}"
        is_control = dealing.share(salt, job.job_id) < self._evaluation.options["control"]
        stable = [STABLE] if job.stable is None else []
        return [CANDIDATE, *stable, *([CONTROL] if is_control else [])]

    def _submit(self, step: _Step) -> None:
        for job in step.jobs:
            for arm in self._arms(job):
                job_id = replays.replay_id(self._evaluation.evaluation_id, arm, job.job_id)
                step.pending[job_id] = (arm, job)
        self._submit_some(step, step.pending)

    def _submit_some(self, step: _Step, job_ids: Iterable[str]) -> None:
        wanted = [step.pending[job_id] for job_id in job_ids]
        for arm in (CANDIDATE, STABLE, CONTROL):
            replays.submit(self._evaluation, arm, [job for its_arm, job in wanted if its_arm == arm])

    def _finished(self, step: _Step) -> bool:
        """Wait for a step and add it to the comparison; return whether the replay goes on."""
        all_ids = list(step.pending)
        while step.pending:
            self._take(step)
            if not step.pending:
                break
            if self._is_over_time():
                self._progress["stopped"] = "The time of the evaluation was over."
                return False
            if self._stopping.wait(_POLL_INTERVAL_S):
                return False
            self._keep()
        for job in step.jobs:
            self._compare(job, step.answers[job.job_id])
        self._facts = hosts.seen(self._evaluation).facts(self._facts)
        self._progress |= {"position": step.ends_at, "tries": 0, "last_error": None}
        saved = {"comparison": self._comparison.state(), "facts": self._facts}
        self._change(evaluations.save, progress=self._progress, comparison=saved)
        replays.forget(all_ids)
        lost = self._progress["lost"]
        if lost >= _MOST_LOST_JOBS and 2 * lost > self._progress["replayed"]:
            replayed = self._progress["replayed"]
            self._progress["stopped"] = f"The candidate killed its hosts with {lost} of {replayed} jobs."
            return False
        return True

    def _take(self, step: _Step) -> None:
        """Take the outcomes that are there; submit again what Redis has lost."""
        found = replays.outcomes(list(step.pending))
        for job_id, view in found.items():
            if view is not None:
                arm, job = step.pending.pop(job_id)
                version = self._evaluation.version if arm == CANDIDATE else self._evaluation.stable_version
                step.answers.setdefault(job.job_id, {})[arm] = replays.answer_of(version, view)
        self._submit_some(step, [job_id for job_id, view in found.items() if view is None])

    def _compare(self, job: SampledJob, answers: dict[str, Answer]) -> None:
        stable, candidate = job.stable or answers[STABLE], answers[CANDIDATE]
        control = answers.get(CONTROL)
        more = (job.truths, job.weight, job.owner, job.finished_at)
        self._comparison.add(Pair(job.job_id, job.inputs, stable, candidate, control, *more))
        progress = self._progress
        progress["replayed"] += 1
        progress["control"] += CONTROL in answers
        for arm, answer in ((CANDIDATE, candidate), (STABLE, stable)):
            progress["errors"][arm] += answer.predictions is None
        progress["lost"] += candidate.error_code == PoisonJob.code

    def _is_over_time(self) -> bool:
        started_at = self._evaluation.started_at
        return started_at is not None and time.time() > started_at.timestamp() + self._evaluation.options["max_s"]

    def _clear(self) -> None:
        """Remove what is left in Redis, the queues and the artifact store, once no worker has the endpoints."""
        evaluation, client_is_new = self._evaluation, True
        while evaluation.started_at is not None and not self._may_remove():
            if self._stopping.wait(_POLL_INTERVAL_S):
                return
            if client_is_new:
                status.nudge()
                client_is_new = False
            if time.monotonic() - self._saved_at >= _CLEAR_AGAIN_S:
                with default_database().session() as session:
                    evaluations.put_off(session, self._mine, _CLEAR_AGAIN_S)
                    session.commit()
                return
        replays.remove(evaluation)
        sample.remove(evaluation.evaluation_id)
        self._change(evaluations.clear)

    def _may_remove(self) -> bool:
        seen, ended_at = hosts.seen(self._evaluation), self._evaluation.finished_at
        if seen.is_known:
            return False
        is_late = ended_at is not None and time.time() > ended_at.timestamp() + _FORCED_AFTER_S
        return not replays.left(self._evaluation) or (is_late and not seen.worker_count)


def _options(evaluation: Evaluation) -> ComparisonOptions:
    return ComparisonOptions.from_document({**evaluation.options["comparison"], "seed": evaluation.evaluation_id})
