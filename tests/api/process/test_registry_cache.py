"""What the API remembers of deployments, and for how long."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from api.process.registry_cache import RegistryCache
from registry.deployments import DesiredDeployment
from registry.errors import DeploymentNotFound, RegistryUnavailable
from tests.workers.stand_ins import deployment

FIRST, SECOND = deployment(revision=1), deployment(revision=2)
Cache = RegistryCache[DesiredDeployment]
TTL_S = 10.0


class Clock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Registry:
    """Answers with what the test has put there, and counts how often it is asked."""

    def __init__(self, answer: DesiredDeployment | Exception = FIRST) -> None:
        self.answer = answer
        self.asked = 0

    def __call__(self) -> DesiredDeployment:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> Cache:
    return Cache(TTL_S, clock=clock)


def test_the_registry_is_asked_once_within_the_time_to_live(cache: Cache, clock: Clock) -> None:
    registry = Registry()
    assert cache.get("adding", registry) is cache.get("adding", registry) is FIRST
    assert registry.asked == 1
    registry.answer = SECOND
    clock.now += TTL_S
    assert cache.get("adding", registry) is SECOND
    assert cache.get(("adder", None), registry) is SECOND
    assert registry.asked == 3


def test_what_is_not_there_is_not_remembered(cache: Cache) -> None:
    registry = Registry(DeploymentNotFound("adding"))
    for _ in range(2):
        with pytest.raises(DeploymentNotFound):
            cache.get("adding", registry)
    registry.answer = FIRST
    assert cache.get("adding", registry) is FIRST


def test_an_undeployed_endpoint_is_seen_once_its_time_is_over(cache: Cache, clock: Clock) -> None:
    registry = Registry()
    cache.get("adding", registry)
    registry.answer = DeploymentNotFound("adding")
    clock.now += TTL_S
    with pytest.raises(DeploymentNotFound):
        cache.get("adding", registry)


def test_while_the_registry_is_away_what_was_read_last_counts_however_old(cache: Cache, clock: Clock) -> None:
    registry = Registry()
    cache.get("adding", registry)
    registry.answer = RegistryUnavailable("away")
    for _ in range(5):
        clock.now += 1_000 * TTL_S
        assert cache.get("adding", registry) is FIRST
    registry.answer = SECOND
    clock.now += TTL_S
    assert cache.get("adding", registry) is SECOND


def test_while_the_registry_is_away_not_every_job_waits_for_its_error(cache: Cache, clock: Clock) -> None:
    registry = Registry()
    cache.get("adding", registry)
    registry.answer = RegistryUnavailable("away")
    clock.now += TTL_S
    for _ in range(20):
        assert cache.get("adding", registry) is FIRST
    assert registry.asked == 2


def test_what_was_never_read_is_an_error_while_the_registry_is_away(cache: Cache) -> None:
    with pytest.raises(RegistryUnavailable):
        cache.get("adding", Registry(RegistryUnavailable("away")))


def test_a_change_by_this_process_is_seen_at_once(cache: Cache) -> None:
    cache.get("adding", Registry())
    cache.clear()
    assert cache.get("adding", Registry(SECOND)) is SECOND


def test_while_the_registry_is_away_after_a_change_what_was_read_last_counts_but_for_what_is_gone(cache: Cache) -> None:
    cache.get("adding", Registry())
    cache.get("other", Registry(SECOND))
    cache.outdate(lambda found: found is FIRST)
    away = Registry(RegistryUnavailable("away"))
    assert cache.get("other", away) is SECOND
    with pytest.raises(RegistryUnavailable):
        cache.get("adding", away)
    cache.outdate(lambda _: False)
    assert cache.get("other", Registry(FIRST)) is FIRST


def test_what_the_registry_has_no_more_does_not_come_back_when_it_goes_away(cache: Cache, clock: Clock) -> None:
    cache.get("adding", Registry())
    clock.now += TTL_S
    with pytest.raises(DeploymentNotFound):
        cache.get("adding", Registry(DeploymentNotFound("adding")))
    with pytest.raises(RegistryUnavailable):
        cache.get("adding", Registry(RegistryUnavailable("away")))


@pytest.mark.parametrize("answer", [FIRST, RegistryUnavailable("away")])
def test_what_was_read_before_a_change_is_not_remembered_after_it(
    cache: Cache, clock: Clock, answer: DesiredDeployment | Exception
) -> None:
    cache.get("adding", Registry())
    clock.now += TTL_S
    registry = Registry(answer)

    def changed_meanwhile() -> DesiredDeployment:
        cache.clear()
        return registry()

    assert cache.get("adding", changed_meanwhile) is FIRST
    assert cache.get("adding", Registry(SECOND)) is SECOND


def test_without_a_time_to_live_everything_is_read(clock: Clock) -> None:
    cache, registry = Cache(0, clock=clock), Registry()
    for _ in range(3):
        cache.get("adding", registry)
    assert registry.asked == 3


def test_it_does_not_grow_beyond_its_bound(clock: Clock) -> None:
    cache = Cache(TTL_S, max_entries=3, clock=clock)
    for number in range(100):
        cache.get(number, Registry())
        assert len(cache._entries) <= 3
    assert cache.get(99, Registry(SECOND)) is FIRST


def test_to_read_again_what_is_remembered_forgets_nothing_else(clock: Clock) -> None:
    cache = Cache(TTL_S, max_entries=3, clock=clock)
    for number in range(3):
        cache.get(number, Registry())
    clock.now += TTL_S
    cache.get(0, Registry(SECOND))
    assert cache.get(1, Registry(RegistryUnavailable("away"))) is FIRST


def test_threads_that_read_and_clear_at_once_get_what_they_asked_for() -> None:
    cache = Cache(0.0001, max_entries=4)
    known = {name: deployment(name) for name in "abcdefgh"}
    wrong: list[object] = []

    def use(read: Callable[[str], Callable[[], DesiredDeployment]]) -> None:
        for number in range(500):
            name = "abcdefgh"[number % 8]
            found = cache.get(name, read(name))
            if found is not known[name]:
                wrong.append(found)
            if number % 50 == 0:
                cache.clear()

    threads = [threading.Thread(target=use, args=(lambda name: lambda: known[name],)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
