"""The live workers of a group, as their reports show them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from workers.engine.placement.decision import Sight
from workers.measures import reports
from workers.measures.reports import HostsState


class _Version(msgspec.Struct):
    state: str
    hosts: int
    arm: str | None = None


class _Endpoint(msgspec.Struct):
    versions: list[_Version]
    waiting: int = 0
    running: int = 0
    busy_hosts: int = 0
    asks_next: bool = False

    def sight(self) -> Sight:
        """Return what a decision needs to know."""
        mine = [each for each in self.versions if each.arm is None]
        return Sight(
            hosts=sum(each.hosts for each in mine if each.state == HostsState.READY),
            busy_hosts=self.busy_hosts,
            is_asleep=any(each.state == HostsState.ASLEEP for each in mine),
            is_busy=bool(self.waiting or self.running),
            asks_next=self.asks_next,
        )


class _Worker(msgspec.Struct):
    worker: str
    worker_group: str
    endpoints: dict[str, _Endpoint]
    follows_placement: bool = False
    is_leaving: bool = False
    gpus: list[msgspec.Raw] = []


_decode = msgspec.json.Decoder(_Worker).decode
_log = logging.getLogger(__name__)


class Roster:
    """The other live workers of a group that follow placement.

    Reports run out while Redis is away. So the workers of before count as alive until they have had the time to write
    another one, or each worker would serve everything after an outage.
    """

    def __init__(self, worker_name: str, worker_group: str) -> None:
        self._name = worker_name
        self._group = worker_group
        self._workers: Mapping[str, _Worker] = {}
        #: When each was seen first (monotonic, s).
        self._since: dict[str, float] = {}
        #: Workers of before an outage, and until when they count as alive.
        self._kept: Mapping[str, _Worker] = {}
        self._kept_until = 0.0
        self._is_outage = False
        #: The reports as they were read last, and parsed.
        self._texts: dict[str, tuple[bytes, _Worker]] = {}
        #: What is wrong with an unreadable report; logged when it changes.
        self._problem: str | None = None

    @property
    def names(self) -> list[str]:
        """The names of these workers."""
        return list(self._workers)

    def with_gpu(self) -> set[str]:
        """Return the names of those that have a GPU."""
        return {name for name, each in self._workers.items() if each.gpus}

    def missed(self) -> None:
        """Record that the reports can't be read."""
        self._is_outage = True

    def update(self, replies: list[Any], now: float) -> None:
        """Read the replies to `reports.queue_reads`; `now` is monotonic (s)."""
        found = [each for each in self._parsed(reports.live_by_name(replies)) if each.worker_group == self._group]
        leaving = {each.worker for each in found if each.is_leaving}
        if self._is_outage:
            self._is_outage, self._kept, self._kept_until = False, self._workers, now + reports.REPORT_LIFE_S
        elif now >= self._kept_until:
            self._kept = {}
        kept = {name: each for name, each in self._kept.items() if name not in leaving}
        live = {each.worker: each for each in found if each.follows_placement and not each.is_leaving}
        self._workers = {**kept, **live}
        self._since = {name: self._since.get(name, now) for name in self._workers}

    def _parsed(self, live: Mapping[str, bytes]) -> list[_Worker]:
        """Parse the reports of others, if they have changed.

        The worker of one in another form serves where it likes, as those of earlier releases do.
        """
        before, self._texts, problem = self._texts, {}, None
        for name in live.keys() - {self._name}:
            known = before.get(name)
            try:
                parsed = known[1] if known is not None and known[0] == live[name] else _decode(live[name])
                self._texts[name] = live[name], parsed
            except msgspec.MsgspecError as error:
                problem = str(error)
        if problem != self._problem and problem is not None:
            _log.warning("ignoring the unreadable report of a worker: %s", problem)
        self._problem = problem
        return [parsed for _, parsed in self._texts.values()]

    def sight(self, worker_name: str, endpoint_name: str) -> Sight | None:
        """Return what a worker reports of an endpoint; None if it reports nothing."""
        found = self._workers[worker_name].endpoints.get(endpoint_name)
        return None if found is None else found.sight()

    def since(self, worker_name: str) -> float:
        """Return when a worker was seen first (monotonic, s)."""
        return self._since[worker_name]

    def has_model(self, endpoint_name: str) -> bool:
        """Whether any of these workers has a host with the model of an endpoint."""
        return any((seen := self.sight(name, endpoint_name)) is not None and seen.hosts for name in self._workers)
