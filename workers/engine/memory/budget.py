"""Hands out the memory of one worker to model hosts, and ends idle hosts when others need room.

What is in use is what hosts share with their forkservers (all their PSS without the private parts), which changes
slowly, and the private memory of each host, which is also what another host adds. Until a host has reached what its
version is known to need, the rest is kept for it. Belongs to one event loop; reads no process and no Redis.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from workers.errors import HostStartFailed
from workers.hosts.processes import MemoryUsage

_log = logging.getLogger(__name__)

MEBIBYTE = 1 << 20
#: Measurements of one host differ by about this much (bytes).
MEASUREMENT_ERROR_BYTES = 4 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class Need:
    """The memory that a host of a version adds to others."""

    #: What is kept for it.
    host_bytes: int
    #: Whether it was measured; otherwise it is a guess, and too large a guess refuses nothing.
    is_measured: bool = False
    #: It starts with so much, if others never free the rest; None is all of it.
    least_bytes: int | None = None

    @property
    def start_bytes(self) -> int:
        """Without so much it waits."""
        return self.host_bytes if self.least_bytes is None else min(self.least_bytes, self.host_bytes)

    def at_least(self, size_bytes: int) -> Need:
        """Return it with at least so much to start."""
        start_bytes = max(self.start_bytes, size_bytes)
        return replace(self, host_bytes=max(self.host_bytes, start_bytes), least_bytes=start_bytes)

    def within(self, size_bytes: int) -> Need:
        """Return it with at most so much kept."""
        return self if self.host_bytes <= size_bytes else replace(self, host_bytes=max(0, size_bytes))


class Sleeper(Protocol):
    """An endpoint whose idle hosts may end."""

    @property
    def name(self) -> str:
        """The endpoint's name."""

    @property
    def used_at(self) -> float:
        """When it last had a job, or was loaded (s, monotonic)."""

    @property
    def can_sleep(self) -> bool:
        """Whether its hosts may end now."""

    def evict(self) -> bool:
        """End its hosts for others; False if it must keep them."""


@dataclass(eq=False, slots=True)
class Claim:
    """The memory of one host, from before its start until it has exited."""

    endpoint_name: str
    artifact_sha256: str
    need: Need
    #: What a host of the version had when its load was ended, so that it needs more (bytes).
    had_bytes: int = 0
    #: None until it has started.
    pid: int | None = None
    #: None until it was measured.
    usage: MemoryUsage | None = None
    #: Whether it is about to exit.
    is_ending: bool = False
    #: Whether its host hasn't been measured with its model.
    is_loading: bool = True
    #: Kills a host that loads a version of unknown need.
    kill: Callable[[str], None] | None = None
    #: Whether it was killed because it needs more than was guessed.
    is_refused: bool = False

    @property
    def charged_bytes(self) -> int:
        """What it has alone, and what is kept for it; its end frees this."""
        return max(self.need.host_bytes, self.usage.private_bytes if self.usage else 0)


@dataclass(eq=False, slots=True)
class _Waiter:
    claim: Claim
    granted: asyncio.Future[None]
    on_wait: Callable[[str | None], None]
    has_reason: bool = False


@dataclass
class MemoryBudget:
    """The memory of one worker's hosts; without a limit each claim is granted."""

    limit_bytes: int | None = None
    #: What stays free of it for errors of measurements.
    margin_bytes: int = 0
    #: Returns the endpoints that may be put to sleep.
    sleepers: Callable[[], Sequence[Sleeper]] = tuple
    #: How many endpoints were put to sleep because others needed room.
    evictions: int = 0
    #: What hosts share, and what forkservers have; None before the first measurement.
    shared_bytes: int | None = None
    _claims: set[Claim] = field(default_factory=set)
    _waiters: list[_Waiter] = field(default_factory=list)

    @property
    def used_bytes(self) -> int:
        """What hosts and forkservers use, and what is kept for hosts."""
        return (self.shared_bytes or 0) + sum(each.charged_bytes for each in list(self._claims))

    @property
    def claims(self) -> list[Claim]:
        """The claims of all hosts that run, start or end."""
        return list(self._claims)

    @property
    def has_waiters(self) -> bool:
        """Whether a host waits for memory."""
        return bool(self._waiters)

    @property
    def over_bytes(self) -> int:
        """How much more than the limit is in use, also when the hosts have exited that are about to; 0 for nothing."""
        return 0 if self.limit_bytes is None else max(0, self.used_bytes - self.limit_bytes - self._ending_bytes())

    def has_room(self, need: Need) -> bool:
        """Whether another host fits without an end of others."""
        return self.limit_bytes is None or (
            not self._waiters and self.used_bytes + need.host_bytes <= self.limit_bytes - self.margin_bytes
        )

    async def claim(self, claim: Claim, on_wait: Callable[[str | None], None]) -> Claim:
        """Wait until there is memory for a host; `on_wait` gets the reason of a wait that no end of idle hosts ends.

        Raises:
            HostStartFailed: it can't ever fit.
        """
        if self.limit_bytes is None:
            self._claims.add(claim)
            return claim
        self._refuse_if_too_large(claim, self.limit_bytes)
        waiter = _Waiter(claim, asyncio.get_running_loop().create_future(), on_wait)
        self._waiters.append(waiter)
        self.serve_waiters()
        try:
            await waiter.granted
        except asyncio.CancelledError:
            self.release(claim)
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            if waiter.has_reason:
                on_wait(None)
        return claim

    def release(self, claim: Claim) -> None:
        """End the claim of a host that has exited, or didn't start."""
        if claim in self._claims:
            self._claims.remove(claim)
            self.serve_waiters()

    def measured(self, usages: Mapping[int, MemoryUsage], shared_bytes: int | None = None) -> None:
        """Record what hosts use, by pid, and what they share, if that is known."""
        for each in self._claims:
            usage = None if each.pid is None else usages.get(each.pid)
            if usage is not None:
                each.usage = usage
                if each.is_loading or usage.private_bytes <= self._most_bytes:  # or it could never be kept again
                    each.need = replace(each.need, host_bytes=max(each.need.host_bytes, usage.private_bytes))
        if shared_bytes is not None:
            self.shared_bytes = shared_bytes

    @property
    def _most_bytes(self) -> int:
        """What one host may have at most."""
        limit_bytes = sys.maxsize if self.limit_bytes is None else self.limit_bytes
        return limit_bytes - self.margin_bytes - (self.shared_bytes or 0)

    def relieve(self) -> None:
        """Get back under the limit: end idle hosts, or a host that loads a version that needs more than was guessed."""
        over_bytes = self.over_bytes
        if over_bytes <= 0 or self._evict(over_bytes, ""):
            return
        loading = [each for each in self._claims if each.kill is not None and each.usage is not None]
        if loading and (limit := self.limit_bytes) is not None:
            most = max(loading, key=lambda each: each.charged_bytes)
            kill, most.kill, most.is_refused = most.kill, None, True
            assert kill is not None  # noqa: S101 - those without are left out
            kill(f"the worker's memory is used up: {mebibytes(self.used_bytes)} of {mebibytes(limit)} MiB.")

    def serve_waiters(self) -> None:
        """Grant what fits, oldest first, and end idle hosts for what fits then; others say why they wait."""
        if self.limit_bytes is None:
            return
        kept_bytes = 0
        for waiter in list(self._waiters):
            free_bytes = self.limit_bytes - self.margin_bytes - self.used_bytes - kept_bytes
            size_bytes = self._attainable_bytes(waiter.claim, free_bytes)
            if size_bytes is None:
                waiter.has_reason = True
                waiter.on_wait(self._reason(self._least_bytes(waiter.claim)))
            elif size_bytes <= free_bytes:
                self._grant(waiter, free_bytes)
            else:
                # What is about to be free is this one's.
                kept_bytes += size_bytes

    def _attainable_bytes(self, claim: Claim, free_bytes: int) -> int | None:
        """Return what a claim gets once idle hosts have ended, which end for it: its need, or the least of it."""
        for size_bytes in (claim.need.host_bytes, self._least_bytes(claim)):
            short_bytes = size_bytes - free_bytes - self._ending_bytes()
            if short_bytes <= 0 or self._evict(short_bytes, claim.endpoint_name):
                return size_bytes
        return None

    def _least_bytes(self, claim: Claim) -> int:
        """Return what it may start with; of several guesses that exceed what is free, one is tried at once."""
        guesses = (each.is_loading and not each.need.is_measured for each in self._claims)
        return claim.need.host_bytes if not claim.need.is_measured and any(guesses) else claim.need.start_bytes

    def _grant(self, waiter: _Waiter, free_bytes: int) -> None:
        self._waiters.remove(waiter)
        waiter.claim.need = waiter.claim.need.within(free_bytes)
        if not waiter.granted.done():
            self._claims.add(waiter.claim)
            waiter.granted.set_result(None)

    def _ending_bytes(self) -> int:
        return sum(each.charged_bytes for each in self._claims if each.is_ending)

    def _evict(self, short_bytes: int, for_endpoint: str) -> bool:
        """Let endpoints sleep until so much will be free, least recently used first; False if that isn't enough."""
        bytes_of: dict[str, int] = {}
        for each in self._claims:
            if not each.is_ending:
                bytes_of[each.endpoint_name] = bytes_of.get(each.endpoint_name, 0) + each.charged_bytes
        having = [each for each in self.sleepers() if each.name in bytes_of and each.name != for_endpoint]
        chosen = least_recently_used(having, bytes_of, short_bytes)
        for sleeper in chosen:
            if sleeper.evict():
                self.evictions += 1
                _log.info("ending the idle hosts of %s: others need memory", sleeper.name)
                for claim in self._claims:
                    claim.is_ending = claim.is_ending or claim.endpoint_name == sleeper.name
        return bool(chosen)

    def _reason(self, need_bytes: int) -> str:
        return (
            f"waits for memory: needs {mebibytes(need_bytes)} MiB, "
            f"{mebibytes(self.used_bytes)} of {mebibytes(self.limit_bytes or 0)} MiB in use"
        )

    def _refuse_if_too_large(self, claim: Claim, limit_bytes: int) -> None:
        most_bytes = self._most_bytes
        sure_bytes = max(claim.had_bytes, claim.need.start_bytes if claim.need.is_measured else 0)
        if sure_bytes <= most_bytes:
            claim.need = claim.need.within(most_bytes)  # a guess may be wrong
            return
        raise HostStartFailed(
            f"A host of this version needs {mebibytes(sure_bytes)} MiB of memory, and this worker has "
            f"{mebibytes(most_bytes)} MiB for hosts: QUEUECAST_WORKER_MEMORY_MB is {mebibytes(limit_bytes)}, of which "
            f"shared libraries take {mebibytes(self.shared_bytes or 0)}."
        )


def least_recently_used(having: Sequence[Sleeper], bytes_of: Mapping[str, int], short_bytes: int) -> list[Sleeper]:
    """Return the idle endpoints whose hosts have to end for so much memory; none if all of them were not enough."""
    chosen: list[Sleeper] = []
    for each in sorted(having, key=lambda sleeper: sleeper.used_at):
        if short_bytes <= 0:
            break
        if each.can_sleep:  # asked of few: it takes longer than to sort them
            chosen.append(each)
            short_bytes -= bytes_of[each.name]
    return chosen if short_bytes <= 0 else []


def mebibytes(size_bytes: int) -> int:
    """Return a size in whole MiB, rounded up."""
    return math.ceil(size_bytes / MEBIBYTE)
