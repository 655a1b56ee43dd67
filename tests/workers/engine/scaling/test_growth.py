"""Whether a version gets another host or loses one, on a simulated machine."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from workers.engine.scaling.growth import REFUSED_S, Bounds, Growth, Sight, decide, needed_rise

LOOK_S = 0.5
BOUNDS = Bounds(first=1, most=8, target_wait_s=1.0, idle_s=30.0)


@dataclass
class Machine:
    """Hosts that predict so many rows a second each, on so many processors, and the rows that arrive."""

    processors: float = 8.0
    rows_per_s: float = 100.0
    arriving_per_s: float = 0.0
    load_s: float = 0.5
    hosts: int = 1
    now: float = 1_000.0
    queued: float = 0.0
    rows: float = 0.0
    batches: float = 0.0
    growth: Growth = field(default_factory=Growth)
    ready_at: float = 0.0
    #: The number of hosts after each look.
    seen: list[int] = field(default_factory=list)

    @property
    def ready(self) -> int:
        return self.hosts if self.now >= self.ready_at else self.hosts - 1

    def run(self, seconds: float, bounds: Bounds = BOUNDS) -> int:
        """Look at it again and again; return how many hosts there are at the end."""
        for _ in range(int(seconds / LOOK_S)):
            self.now += LOOK_S
            rate = min(self.ready, self.processors) * self.rows_per_s
            self.queued += self.arriving_per_s * LOOK_S
            done = min(self.queued, rate * LOOK_S)
            self.queued, self.rows, self.batches = self.queued - done, self.rows + done, self.batches + done / 10
            busy = min(self.ready, round(done / LOOK_S / self.rows_per_s))
            wait_s = self.queued / rate
            sight = Sight(self.now, self.hosts, self.ready, busy, wait_s, int(self.rows), int(self.batches))
            self.growth, hosts = decide(self.growth, sight, bounds)
            if hosts > self.hosts:
                self.ready_at = self.now + self.load_s
            self.hosts = hosts
            self.seen.append(hosts)
        return self.hosts


def test_hosts_are_added_until_the_wait_is_below_the_target() -> None:
    machine = Machine(arriving_per_s=350.0)
    machine.run(60)
    assert machine.hosts >= 4
    assert machine.queued / (machine.ready * machine.rows_per_s) <= BOUNDS.target_wait_s
    assert max(machine.seen) <= 6


def test_no_host_is_added_while_the_wait_is_below_the_target() -> None:
    machine = Machine(arriving_per_s=90.0)
    assert machine.run(120) == 1
    assert set(machine.seen) == {1}


def test_on_a_full_processor_one_host_is_tried_and_taken_back_for_a_while() -> None:
    machine = Machine(processors=1.0, arriving_per_s=300.0)
    machine.run(50)
    assert (machine.hosts, max(machine.seen)) == (1, 2)
    tries = sum(later > earlier for earlier, later in zip(machine.seen, machine.seen[1:], strict=False))
    assert tries == 1
    machine.run(REFUSED_S)
    assert max(machine.seen[100:]) == 2  # after the pause it is tried again
    machine.run(50)
    assert machine.hosts == 1


def test_two_processors_take_two_hosts_and_no_third() -> None:
    machine = Machine(processors=2.0, arriving_per_s=1_000.0)
    machine.run(50)
    assert (machine.hosts, max(machine.seen)) == (2, 3)


def test_hosts_stay_within_the_bounds_also_after_they_have_changed() -> None:
    machine = Machine(arriving_per_s=1_000.0)
    assert machine.run(60, Bounds(1, 3, 1.0, 30.0)) == 3
    assert machine.run(LOOK_S, Bounds(1, 2, 1.0, 30.0)) == 2
    assert machine.run(LOOK_S, Bounds(4, 8, 1.0, 30.0)) == 4


def test_spare_hosts_end_after_the_idle_time_and_not_before() -> None:
    machine = Machine(arriving_per_s=350.0)
    machine.run(60)
    hosts, machine.arriving_per_s = machine.hosts, 150.0
    while machine.queued:
        machine.run(LOOK_S)
    assert machine.run(BOUNDS.idle_s - 2) == hosts
    assert machine.run(4) == 2
    machine.arriving_per_s = 0.0
    assert machine.run(BOUNDS.idle_s + 4) == 1


def test_an_unknown_wait_adds_no_host_and_a_host_that_loads_is_waited_for() -> None:
    unknown = Sight(1.0, 1, 1, 1, None, 0, 0)
    assert decide(Growth(), unknown, BOUNDS)[1] == 1
    machine = Machine(arriving_per_s=1_000.0, load_s=20.0)
    machine.run(20)
    assert machine.hosts == 2


def test_a_host_that_fails_is_taken_back() -> None:
    failing = Sight(10.0, 3, 2, 2, 5.0, 100, 10, failed=True)
    growth, hosts = decide(Growth(rate_before=10.0), failing, BOUNDS)
    assert hosts == 2
    assert growth.refused_until == 10.0 + REFUSED_S


def test_without_room_in_memory_none_is_added() -> None:
    start = Sight(1.0, 1, 1, 1, 50.0, 0, 0)
    late = Sight(9.0, 1, 1, 1, 50.0, 800, 80, has_room=False)
    assert decide(Growth(measured_from=start), late, BOUNDS)[1] == 1


@pytest.mark.parametrize(("hosts", "rise"), [(1, 1.3), (3, 1.1), (10, 1.05)])
def test_the_rate_has_to_rise_by_a_part_of_what_another_host_could_add(hosts: int, rise: float) -> None:
    assert needed_rise(hosts) == pytest.approx(rise)
