"""The trial of a candidate on one worker: which arm a job is dealt to, and what becomes of those that fail there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec import Raw

from registry.signatures.output_shape import OutputShape
from registry.trials.candidates import Candidate
from workers.engine.intake.messages import Dealt, QueuedJob
from workers.engine.serving.trials.copies import Copies, Copy, PairAnswer
from workers.measures import arms
from workers.measures.arms import Arm
from workers.platform import fast_json
from workers.queues import dealing

#: The stable version's outputs are looked at in each batch up to this number of batches, then in one of so many.
_LEARNED_BATCHES, _LEARNED_OF = 500, 16


class Trial:
    """A shadow or a rollout of one endpoint; belongs to one event loop."""

    def __init__(self, candidate: Candidate, run_on_stable: Callable[[list[QueuedJob]], None]) -> None:
        #: With the weight as it is now.
        self.candidate = candidate
        #: The shape of the stable version's outputs.
        self.shape = OutputShape()
        #: The backlogs of copies, by the arm that predicts them.
        self.copies: dict[Arm, Copies] = {}
        self._run_on_stable = run_on_stable
        self._batches = 0

    @property
    def falls_back(self) -> bool:
        """Whether a job that fails on the candidate runs again on the stable version."""
        return self.candidate.on_failure == "stable"

    def deal(self, job: QueuedJob) -> Dealt:
        """Deal a job by its key; the same on each worker, and at each weight up to 1 for those that it had before."""
        candidate = self.candidate
        is_candidates = dealing.share(candidate.salt, job.sticky_key or job.job_id) < candidate.weight
        job.dealt = Dealt(candidate.trial_id, Arm.CANDIDATE if is_candidates else Arm.STABLE)
        return job.dealt

    def fall_back(self, jobs: Sequence[QueuedJob], failure: str, started_at: float) -> None:
        """Run jobs again on the stable version, in the claim that they have: the candidate's attempt doesn't count."""
        for number, job in enumerate(jobs):
            is_counted = number == 0 or failure not in arms.FAILURES_OF_BATCHES
            self.note_failure(job, failure if is_counted else arms.UNJUDGED).fell_back = True
            # One of them may be the cause, and would take the host from other callers' jobs.
            job.alone = job.alone or failure in arms.FAILURES_OF_BATCHES
            job.claimed_at = started_at
        self._run_on_stable(list(jobs))

    def note_failure(self, job: QueuedJob, failure: str) -> Dealt:
        """Note why the candidate has not answered a job: its first reason counts."""
        job.dealt = job.dealt or Dealt(self.candidate.trial_id, Arm.CANDIDATE)
        job.dealt.failure = job.dealt.failure or failure
        return job.dealt

    def fits(self, outputs: Sequence[Raw]) -> bool:
        """Whether outputs of the candidate have the shape of the stable version's."""
        return all(self._fits(each) for each in outputs)

    def _fits(self, output: Raw) -> bool:
        """Whether one output fits; what Python can't parse, or is nested too deeply, has no shape to compare."""
        try:
            return self.shape.fits(fast_json.loads(bytes(output)))
        except (ValueError, RecursionError):
            return self.shape.is_any

    def learn(self, outputs: Sequence[Raw], *, all_of_them: bool = False) -> None:
        """Learn the shape of the stable version's outputs from a batch."""
        self._batches += 1
        if all_of_them or self._batches <= _LEARNED_BATCHES or not self._batches % _LEARNED_OF:
            for each in outputs if all_of_them else outputs[:1]:
                try:
                    self.shape.learn(fast_json.loads(bytes(each)))
                except (ValueError, RecursionError):
                    # The job has its outcome all the same.
                    self.shape.learn_any()

    def copies_job(self, job: QueuedJob, arm: Arm) -> bool:
        """Whether the other version predicts a job as well, after its end.

        It predicts all that the candidate has answered: that is what a rollout compares. Of the stable version's jobs
        it predicts a share.
        """
        candidate, other = self.candidate, Arm.CANDIDATE if arm is Arm.STABLE else Arm.STABLE
        if other not in self.copies or (job.dealt is not None and job.dealt.fell_back):
            return False
        if arm is Arm.CANDIDATE:
            return True
        return dealing.share(f"shadow {candidate.salt}", job.job_id) < candidate.shadow_share

    def copy(self, job: QueuedJob, arm: Arm, answer: PairAnswer) -> None:
        """Have the other version predict a job that has ended."""
        other = Arm.CANDIDATE if arm is Arm.STABLE else Arm.STABLE
        if (copies := self.copies.get(other)) is not None:
            size_bytes = len(job.message) + sum(len(bytes(each)) for each in answer.predictions or ())
            trial_id, rows = self.candidate.trial_id, job.rows
            copies.put(Copy(trial_id, job.endpoint_name, job.job_id, rows, size_bytes, arm, answer))

    def end(self) -> None:
        """Drop the copies that wait."""
        for copies in self.copies.values():
            copies.clear()
        self.copies.clear()


@dataclass(frozen=True, slots=True)
class Side:
    """The arm of a trial that a pool serves."""

    trial: Trial
    arm: Arm

    @property
    def falls_back(self) -> bool:
        """Whether its jobs that fail run again on the stable version."""
        return self.arm is Arm.CANDIDATE and self.trial.falls_back
