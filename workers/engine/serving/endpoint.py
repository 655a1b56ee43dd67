"""One endpoint on one worker: its jobs, who gets them, and when its hosts start, sleep and end."""

from __future__ import annotations

import logging
import time

from registry.deployments import DesiredDeployment, Intent
from workers.engine.batching.batcher import Batcher
from workers.engine.context import Context
from workers.engine.intake.messages import QueuedJob
from workers.engine.serving import finish
from workers.engine.serving.candidate import CandidateArm, CandidateEnds
from workers.engine.serving.endpoint_hosts import EndpointHosts, HostsEnds
from workers.engine.serving.hosts.host_pool import HostPool
from workers.engine.serving.sleep import without_hosts
from workers.measures.paces import Pace
from workers.measures.reports import EndpointReport, HostsState

_log = logging.getLogger(__name__)

#: The number of jobs that are fetched at once to be rejected.
_REJECTED_AT_ONCE = 500


class Endpoint:
    """Serves the desired deployment; belongs to one event loop."""

    def __init__(self, context: Context, desired: DesiredDeployment) -> None:
        self.desired = desired
        self._context = context
        ends = HostsEnds(self._swapped, self._hosts_ready, self._next_changed, self._hosts_ended)
        self._hosts = EndpointHosts(context, Batcher(desired.settings), ends)
        #: The hosts of a candidate, with the jobs that were dealt to it; None without a candidate.
        self._candidate: CandidateArm | None = None
        #: When it last had a job, or was loaded (s, monotonic).
        self.used_at = time.monotonic()
        #: Whether this worker takes no more jobs of this endpoint, whatever the deployment's intent.
        self.retired = False
        #: Whether this worker serves the endpoint; otherwise other workers of the group do. Changed by `place`.
        self.is_placed = True
        #: Whether jobs wait too long here with all hosts that this worker can have for it.
        self.is_overloaded = False

    @property
    def name(self) -> str:
        """The endpoint's name."""
        return self.desired.endpoint_name

    @property
    def _batcher(self) -> Batcher:
        """The jobs that wait for the version that serves."""
        return self._hosts.batcher

    @property
    def capacity(self) -> int:
        """The most jobs to hold at once: a batch for each host, and one that is being collected."""
        if self._gives_back:
            return 0
        if self.desired.intent is Intent.REJECT:
            return _REJECTED_AT_ONCE
        beside = 0 if self._candidate is None else self._candidate.most_waiting
        return self._hosts.capacity + beside

    @property
    def _gives_back(self) -> bool:
        """Whether its jobs are for other workers, or for a later deploy."""
        if self.retired or self.desired.intent is Intent.PARK:
            return True
        return not self.is_placed and self.desired.intent is not Intent.REJECT

    @property
    def credit(self) -> int:
        """The number of jobs to fetch now.

        It is unknown which version a job will be dealt to. So there is none while the stable version has no room, and
        less while the candidate has none.
        """
        if self._candidate is None or not self._candidate.is_dealt_to or self.desired.intent is Intent.REJECT:
            return self.capacity - len(self._batcher)
        if not self.capacity:
            return 0
        return self._candidate.credit(self._hosts.capacity - len(self._batcher))

    @property
    def credit_if_high(self) -> int:
        """The number of jobs to fetch while high jobs wait: one batch more."""
        capacity = self.capacity
        if not capacity:
            return 0
        more = self._batcher.size.rows_at_hand
        return capacity + more - len(self._batcher) if self._candidate is None else max(self.credit, 0) + more

    @property
    def serves_at_once(self) -> bool:
        """Whether a host waits for a job, and would get one that comes alone without delay.

        A claim at the fetch counts as an attempt if this worker is killed, so jobs with only one are claimed later.
        """
        may_claim = self.desired.settings.max_attempts > 1
        other = self._candidate
        both = self._batcher.serves_at_once and (other is None or not other.is_dealt_to or other.batcher.serves_at_once)
        return may_claim and self.serves and not self.retired and both

    @property
    def takes_early(self) -> bool:
        """Whether it takes delayed jobs before they are due, because it rejects all jobs."""
        return self.desired.intent is Intent.REJECT and not self.retired

    @property
    def running_jobs(self) -> list[QueuedJob]:
        """The jobs of all current batches."""
        return [job for pool in self._serving_pools for job in pool.running_jobs]

    @property
    def _serving_pools(self) -> list[HostPool]:
        beside = self._candidate.pool if self._candidate else None
        return [pool for pool in (self._hosts.current, beside, *self._hosts.stopping) if pool]

    @property
    def waiting_jobs(self) -> list[QueuedJob]:
        """The jobs that wait for a host."""
        return [*self._batcher.jobs, *(self._candidate.batcher.jobs if self._candidate else ())]

    @property
    def claimed_jobs(self) -> list[QueuedJob]:
        """The jobs whose records say that they run: also those that wait to run again on the stable version."""
        return [*self.running_jobs, *(job for job in self.waiting_jobs if job.claimed_at is not None)]

    @property
    def busy(self) -> bool:
        """Whether it has waiting or running jobs."""
        return bool(len(self._batcher) or (self.has_hosts and (self.waiting_jobs or self.running_jobs)))

    @property
    def serves(self) -> bool:
        """Whether it is deployed and has a host with its model."""
        return self.desired.intent is Intent.SERVE and self._hosts.are_ready

    @property
    def is_proved(self) -> bool:
        """Whether the deployed version has been loaded here, and jobs are taken: it serves, or a job wakes it."""
        return self.serves or (self.desired.intent is Intent.SERVE and self._hosts.can_wake and not self.retired)

    @property
    def is_asleep(self) -> bool:
        """Whether it has no hosts, and its next job loads them."""
        return self._hosts.are_asleep

    @property
    def can_sleep(self) -> bool:
        """Whether its hosts may end until the next job comes."""
        current, settings = self._hosts.current, self.desired.settings
        if current is None or not settings.may_sleep or self.desired.intent is not Intent.SERVE or self.retired:
            return False
        beside = self._hosts.next or self._candidate or self.desired.candidate or self.desired.is_replay
        return not beside and not self.busy and not current.is_used and current.ready_hosts > 0

    @property
    def scaled_pool(self) -> HostPool | None:
        """The serving hosts whose number changes with the jobs that wait; None if there are none."""
        current, settings = self._hosts.current, self.desired.settings
        if current is None or not settings.has_range or self.desired.intent is not Intent.SERVE or self.retired:
            return None
        return current

    @property
    def busy_hosts(self) -> int:
        """The number of serving hosts that have jobs."""
        return self._hosts.current.busy_hosts if self._hosts.current else 0

    @property
    def asks_next(self) -> bool:
        """Whether the next worker should serve it too: its version can't be loaded here now, or jobs wait too long."""
        is_short = self.is_overloaded and self._hosts.current is not None
        return self.is_placed and not self.retired and (self._hosts.next_cannot_load or is_short)

    @property
    def rests_as(self) -> object:
        """What its report depends on while it has no hosts, jobs and troubles; None if the report may change."""
        if self.has_hosts or len(self._batcher) or self._context.troubles.get(self.name):
            return None
        return self.desired, self.is_placed, self._hosts.asleep

    @property
    def has_hosts(self) -> bool:
        """Whether any host runs, starts or stops."""
        return self._hosts.are_any or self._candidate is not None

    def apply(self, desired: DesiredDeployment) -> None:
        """Start to apply the desired deployment; another version, or a lower limit, is swapped in once it is loaded."""
        self.desired = desired
        self._promote_if_candidates(desired)
        self._batcher.settings = desired.settings
        if desired.intent in (Intent.SERVE, Intent.DRAIN) and not self._gives_back:
            self._hosts.start_or_keep(desired)
            self._start_or_keep_candidate(desired)
            self._context.intake.ring(self.name)
            return
        self._end_candidate()
        self._hosts.stop_all()
        self._context.intake.ring(self.name)
        if desired.intent is Intent.REJECT and not self.retired:
            self._reject(self._batcher.take_all())
        else:
            self._give_back(self._batcher.take_all())

    def begin_asleep(self, load_ms: float | None = None) -> None:
        """Take jobs without hosts: the version has been loaded before, and its first job here loads it again."""
        self._hosts.begin_asleep(self.desired, load_ms)

    def sleep(self) -> bool:
        """End the hosts until the next job comes; False if it must keep them."""
        if not self.can_sleep:
            return False
        _log.info("%s is idle: ending its hosts until the next job", self.name)
        self._hosts.sleep(self.desired)
        self._context.changed.set()
        self._context.intake.ring(self.name)
        return True

    def evict(self) -> bool:
        """The same because other endpoints need the memory."""
        has_slept = self.sleep()
        if has_slept:
            self._context.counters.evicted(self.desired)
        return has_slept

    def place(self, *, is_placed: bool) -> None:
        """Begin to serve, or leave the endpoint to other workers: give back waiting jobs, and finish running ones."""
        if is_placed is self.is_placed:
            return
        _log.info("serving %s from now on" if is_placed else "leaving %s to other workers", self.name)
        self.is_placed = is_placed
        if is_placed:
            self._context.counters.took_over(self.name)
        self.apply(self.desired)
        self._context.changed.set()

    def retire(self) -> None:
        """Give back waiting jobs, finish running ones, and stop the hosts: other workers may serve the endpoint."""
        self.retired = True
        self.apply(self.desired)

    def receive(self, jobs: list[QueuedJob]) -> None:
        """Accept jobs that were fetched from the queue; if the endpoint is asleep, they wake it."""
        self.used_at = time.monotonic()
        self._context.event_buffer.received(jobs, self.desired.settings.events)
        if self._gives_back:
            self._give_back(jobs)
        elif self.desired.intent is Intent.REJECT:
            self._reject(jobs)
        else:
            for batcher, dealt in self._deal(jobs):
                if any(job.claimed_at for job in dealt) and not self._gives_at_once(batcher):
                    self._context.in_background(self._release(dealt))
                else:
                    batcher.put(dealt)
            self._wake_for_jobs()

    def _gives_at_once(self, batcher: Batcher) -> bool:
        """Whether a host takes what this batcher gets now; hosts that have just begun to end still wait for batches."""
        return batcher.serves_at_once and (batcher is not self._batcher or self.serves)

    def _wake_for_jobs(self) -> None:
        """Load the version if it is asleep and a job waits; give the job back if that can't be now."""
        if self.is_asleep and len(self._batcher):
            self.apply(self.desired)
        else:
            self._next_changed()

    def _deal(self, jobs: list[QueuedJob]) -> list[tuple[Batcher, list[QueuedJob]]]:
        """Deal jobs to the two versions; without a candidate, all to the one."""
        if self._candidate is None:
            return [(self._batcher, jobs)]
        theirs = self._candidate.deal(jobs)
        ours = [job for job in jobs if job not in theirs] if theirs else jobs
        parts = (self._batcher, ours), (self._candidate.batcher, theirs)
        return [(batcher, dealt) for batcher, dealt in parts if dealt]

    def not_fetched(self, why: str | None) -> None:
        """Show in the status why a queue can't be read; None: it can be read again."""
        self._context.trouble(self.name, "read a queue", why)

    def not_delayed(self, why: str | None) -> None:
        """Show in the status why early jobs can't be delayed; None: they can be again."""
        self._context.trouble(self.name, "delay jobs", why)

    def cancel(self, job: QueuedJob, *, at_once: bool) -> None:
        """End a running job whose record is cancelled; see `HostSlot.cancel`."""
        if job.claimed_at is not None:
            job.withdrawn = True  # if it waits to run again
        for pool in self._serving_pools:
            pool.cancel(job, at_once=at_once)

    async def stop(self) -> None:
        """Wait until running jobs are finished and the hosts have exited."""
        self._end_candidate()
        self._hosts.stop_all()
        await self._hosts.ended()

    def kill(self) -> None:
        """Kill the hosts."""
        for pool in (self._hosts.next, *self._serving_pools):
            if pool:
                pool.kill()

    def report(self) -> EndpointReport:
        """Return this endpoint's part of the worker's report."""
        beside = self._candidate.pool if self._candidate else None
        pace, versions = self._hosts.pace(), self._hosts.reports(beside)
        if not self.is_placed and self.desired.intent is Intent.SERVE:
            versions.insert(0, without_hosts(self.desired, HostsState.NOT_PLACED))
        return {
            "versions": versions,
            "waiting": len(self.waiting_jobs),
            "running": len(self.running_jobs),
            "pace": pace,
            "jobs_per_s": Pace(**pace).jobs_per_s if pace else 0.0,
            "load_failure": self._hosts.load_failure(),
            "trouble": "; ".join(
                f"Can't {what}: {why}" for what, why in self._context.troubles.get(self.name, {}).items()
            ),
            "busy_hosts": self.busy_hosts,
            "asks_next": self.asks_next,
        }

    def _next_changed(self) -> None:
        """Give back the jobs for which a version was loaded that can't be now; other workers may have it."""
        if self._hosts.current is not None or self._hosts.next is None:
            return
        if self._hosts.next_cannot_load:
            self._give_back(self._batcher.take_all())
        self._context.intake.ring(self.name)

    def _promote_if_candidates(self, desired: DesiredDeployment) -> None:
        """Serve the candidate's version with the hosts that have it, if the deployment's version is that one now."""
        theirs, current = self._candidate, self._hosts.current
        if theirs is None or current is None or self.retired or desired.intent is not Intent.SERVE:
            return
        if current.can_serve(desired) or not theirs.can_be_promoted(desired):
            return
        _log.info("the candidate of %s, version %s, is its version now", self.name, desired.version)
        self._candidate = None
        self._hosts.take_over(theirs.pool, theirs.batcher)
        theirs.promote()

    def _start_or_keep_candidate(self, desired: DesiredDeployment) -> None:
        """Load the candidate beside the version that serves, keep its hosts, or stop them."""
        wanted = desired.of_candidate() if desired.intent is Intent.SERVE else None
        if self._candidate is not None and not self._candidate.apply(wanted, desired.candidate):
            self._end_candidate()
        current = self._hosts.current
        if current is None:
            return
        if wanted is not None and desired.candidate is not None and self._candidate is None:
            _log.info("loading candidate %s version %s for %s", wanted.model_name, wanted.version, self.name)
            ends = CandidateEnds(self._run_on_stable, self._candidate_changed, self._candidate_lost)
            self._candidate = CandidateArm(self._context, wanted, desired.candidate, ends)
        if self._candidate is not None:
            self._candidate.beside(current)

    def _end_candidate(self) -> None:
        """Stop the candidate's hosts; its waiting jobs go to the stable version."""
        theirs, self._candidate = self._candidate, None
        if theirs is not None:
            theirs.batcher.succeeded_by(self._batcher)
            theirs.end()
            if self._hosts.current is not None:
                self._hosts.current.side = None
                self._hosts.current.copies.clear()
            self._hosts.stop(theirs.pool)

    def _candidate_changed(self) -> None:
        """Fetch jobs for the candidate's hosts."""
        self._context.intake.ring(self.name)

    def _candidate_lost(self) -> None:
        """Run the candidate's waiting jobs on the stable version while it has no host."""
        if self._candidate is not None:
            self._run_on_stable(self._candidate.take_unserved())
            self._candidate_changed()

    def _run_on_stable(self, jobs: list[QueuedJob]) -> None:
        if not jobs:
            return
        self._batcher.put(jobs)
        self._context.intake.ring(self.name)
        if self._hosts.current is None:
            self.apply(self.desired)

    def _swapped(self) -> None:
        """Note that a version has been loaded, and serves from now on."""
        self.is_overloaded = False
        self.used_at = time.monotonic()
        self._start_or_keep_candidate(self.desired)

    def _hosts_ready(self) -> None:
        """Fetch more: another host means more credit, and the queue may still hold jobs."""
        self._context.intake.ring(self.name)

    def _hosts_ended(self) -> None:
        """Load the version again if a lost batch has returned to a batcher without hosts."""
        self.apply(self.desired)

    def _reject(self, jobs: list[QueuedJob]) -> None:
        if not jobs:
            return
        now = time.time()
        ends = [finish.rejected(self._context, job, now) for job in jobs]
        self._context.in_background(finish.write(self._context, self.desired, ends))
        self._context.intake.ring(self.name)

    async def _release(self, jobs: list[QueuedJob]) -> None:
        """Let jobs wait that were claimed for a host that is busy or lost by now."""
        await self._context.release(jobs)
        self.used_at = time.monotonic()
        for batcher, dealt in self._deal(jobs):
            batcher.put(dealt)
        if self._hosts.current is None:
            self.apply(self.desired)

    def _give_back(self, jobs: list[QueuedJob]) -> None:
        if jobs:
            self._context.in_background(self._context.give_back(jobs))
