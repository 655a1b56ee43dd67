"""The candidate of an endpoint on one worker: its hosts, and the jobs that were dealt to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from registry.deployments import DesiredDeployment
from registry.trials.candidates import Candidate
from workers.engine.batching.batcher import Batcher
from workers.engine.context import Context
from workers.engine.intake.messages import QueuedJob
from workers.engine.serving.hosts.host_pool import HostPool
from workers.engine.serving.trials.copies import Copies
from workers.engine.serving.trials.trial import Side, Trial
from workers.measures import arms
from workers.measures.arms import Arm

#: The candidate may have waiting jobs for so many batches of each host; more run on the stable version.
_MOST_BATCHES = 2


class CandidateEnds(NamedTuple):
    """What the endpoint does for its candidate."""

    run_on_stable: Callable[[list[QueuedJob]], None]
    changed: Callable[[], None]
    lost: Callable[[], None]


class CandidateArm:
    """The hosts of a candidate with a batcher of their own; belongs to one event loop."""

    def __init__(self, context: Context, wanted: DesiredDeployment, candidate: Candidate, ends: CandidateEnds) -> None:
        self.trial = Trial(candidate, ends.run_on_stable)
        self.batcher = Batcher(wanted.settings)
        self._ends = ends
        self.pool = HostPool(context, wanted, self.batcher, self._ready)
        self.pool.side = Side(self.trial, Arm.CANDIDATE)
        self.pool.on_lost = ends.lost
        self.pool.set_nice(wanted=_gives_way(candidate))
        #: The hosts of the stable version.
        self._stable: HostPool | None = None
        #: Whether that has lost a host with a copy.
        self._stable_is_hurt = False

    @property
    def is_dealt_to(self) -> bool:
        """Whether jobs are dealt to it: it has a weight, and a host with its model."""
        return self.trial.candidate.weight > 0 and self.pool.ready_hosts > 0

    @property
    def most_waiting(self) -> int:
        """The most jobs that may wait for its hosts."""
        if not self.is_dealt_to:
            return 0
        return _MOST_BATCHES * self.batcher.size.rows_at_hand * (self.pool.ready_hosts + 1)

    def credit(self, room: int) -> int:
        """Return the number of jobs to fetch while the stable version has room for so many."""
        own_room = self.most_waiting // _MOST_BATCHES - len(self.batcher)
        if room <= 0:
            return 0
        return room + own_room if own_room > 0 else math.ceil(room * (1 - self.trial.candidate.weight))

    def apply(self, wanted: DesiredDeployment | None, candidate: Candidate | None) -> bool:
        """Apply settings and the weight to its hosts; False if they don't have the candidate that is wanted now."""
        if wanted is None or candidate is None or not self.pool.can_apply(wanted):
            return False
        before = self.trial.candidate
        if _gives_way(before) and not _gives_way(candidate) and not self.pool.set_nice(wanted=False):
            return False  # the operating system doesn't raise the priority of a process again
        if before.trial_id != candidate.trial_id:
            for copies in self.trial.copies.values():
                copies.clear()
        self.trial.candidate = candidate
        self.batcher.settings = wanted.settings
        self.pool.apply(wanted)
        return True

    def beside(self, stable: HostPool) -> None:
        """Note the hosts of the stable version: their outputs, and their part of the copies."""
        if self._stable is not stable:
            self._stable = stable
            stable.side = Side(self.trial, Arm.STABLE)
            stable.copies.on_lost = self._stable_lost
            self.trial.shape.describe(stable.outputs)
        self._copy_to(Arm.STABLE, stable.copies)
        self._ready()

    def deal(self, jobs: Sequence[QueuedJob]) -> list[QueuedJob]:
        """Deal jobs; return those that its hosts get, which it has room for.

        Jobs without valid arguments are dealt to neither version: they fail before a model has them.
        """
        theirs: list[QueuedJob] = []
        room = self.most_waiting - len(self.batcher)
        for job in jobs:
            if job.fault is not None:
                continue
            dealt = self.trial.deal(job)
            if dealt.arm is Arm.CANDIDATE:
                if len(theirs) < room:
                    theirs.append(job)
                else:
                    _unserved(job)
        return theirs

    def take_unserved(self) -> list[QueuedJob]:
        """Remove and return its waiting jobs, which run on the stable version because it has no host."""
        jobs = self.batcher.take_all()
        for job in jobs:
            _unserved(job)
        return jobs

    def can_be_promoted(self, desired: DesiredDeployment) -> bool:
        """Whether its hosts can serve the endpoint: with its version, and with as much of the processor as others."""
        if not (self.pool.ready_hosts and self.pool.can_apply(desired)):
            return False
        return not _gives_way(self.trial.candidate) or self.pool.set_nice(wanted=False)

    def promote(self) -> None:
        """Note that its hosts serve the endpoint from now on."""
        self.end()
        self.pool.side, self.pool.on_lost = None, lambda: None

    def end(self) -> None:
        """Drop all copies: the trial is over."""
        self.trial.end()
        self.pool.copies.clear()
        if self._stable is not None:
            self._stable.copies.clear()

    def _ready(self) -> None:
        """Let its hosts take batches, and copies."""
        if self.pool.ready_hosts:
            self.pool.serve()
            self._copy_to(Arm.CANDIDATE, self.pool.copies)
        self._ends.changed()

    def _copy_to(self, arm: Arm, copies: Copies) -> None:
        if not self._stable_is_hurt or arm is Arm.CANDIDATE:
            self.trial.copies[arm] = copies

    def _stable_lost(self) -> None:
        """Predict no more copies on the stable version, which has lost a host with one."""
        self._stable_is_hurt = True
        self.trial.copies.pop(Arm.STABLE, None)


def _gives_way(candidate: Candidate) -> bool:
    """Whether its hosts predict copies alone, so that others have the processor first."""
    return not candidate.weight and candidate.shadow_share > 0


def _unserved(job: QueuedJob) -> None:
    if job.dealt is not None:
        job.dealt.failure, job.dealt.fell_back = job.dealt.failure or arms.UNSERVED, True
