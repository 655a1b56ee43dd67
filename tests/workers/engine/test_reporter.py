"""A worker's reports: whole, but of endpoints that rest made once, and of served revisions only what is new."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
from msgspec import Raw
from redis.asyncio import Redis

from tests.support.waiting import until
from tests.workers.conftest import WithRedis
from tests.workers.engine.fakes import FakeLauncher, with_fake_hosts
from tests.workers.stand_ins import RecordingIntake, context, deployment, queued_job, worker_report
from workers import keys
from workers.engine import reporter as reporter_module
from workers.engine.reporter import Reporter
from workers.engine.serving.endpoint import Endpoint
from workers.measures.reports import WorkerReport

#: How long Redis lets writers wait.
_PAUSE_MS = 500
ON_DEMAND: dict[str, Any] = {"hosts": {"min": 0, "max": 1}, "max_batch_delay_ms": 0}


class Running:
    """Two endpoints, the first of which is asleep, and what reports on them."""

    def __init__(self, client: Redis, store: redis.Redis) -> None:
        self.context = with_fake_hosts(context(client, intake=RecordingIntake()), FakeLauncher())
        names = ("asleep", "awake")
        self.endpoints = {name: Endpoint(self.context, deployment(endpoint_name=name, **ON_DEMAND)) for name in names}
        self.endpoints["asleep"].begin_asleep(7.0)
        self.reporter = Reporter(self.context, self.endpoints, self._document)
        self.made: list[str] = []
        for endpoint in self.endpoints.values():
            self._count_reports(endpoint)
        self._store = store

    def _document(self) -> WorkerReport:
        return worker_report()

    def _count_reports(self, endpoint: Endpoint) -> None:
        report = endpoint.report

        def counted() -> Any:
            self.made.append(endpoint.name)
            return report()

        endpoint.report = counted  # type: ignore[method-assign]

    def states(self) -> dict[str, list[str]]:
        [text] = self._store.hvals(keys.REPORTS)
        found = json.loads(text)["endpoints"]
        return {name: [each["state"] for each in endpoint["versions"]] for name, endpoint in found.items()}


def run(with_redis: WithRedis, store: redis.Redis, what: Callable[[Running], Any]) -> None:
    async def running(client: Redis) -> None:
        now = Running(client, store)
        for endpoint in now.endpoints.values():
            endpoint.apply(endpoint.desired)
        await until(lambda: now.endpoints["awake"].serves)
        try:
            await what(now)
        finally:
            for endpoint in now.endpoints.values():
                await endpoint.stop()
            await now.context.settle()

    with_redis(running)


def test_the_report_on_an_endpoint_that_rests_is_made_once(store: redis.Redis, with_redis: WithRedis) -> None:
    async def report(now: Running) -> None:
        for _ in range(3):
            await now.reporter.write()
        assert now.made.count("asleep") == 1
        assert now.made.count("awake") == 3
        assert now.states() == {"asleep": ["asleep"], "awake": ["ready"]}

    run(with_redis, store, report)


def test_jobs_have_the_event_loop_between_the_reports_on_two_endpoints(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    async def report(now: Running) -> None:
        turns = 0

        def slow(_: Endpoint) -> tuple[Raw, bool]:
            seen.append(turns)
            time.sleep(0.002)
            return Raw(b"{}"), False

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        monkeypatch.setattr(now.reporter, "_fragment", slow)
        beside = asyncio.create_task(others())
        await now.reporter.write()
        beside.cancel()
        assert seen[0] < seen[1]

    run(with_redis, store, report)


def test_what_changes_about_it_is_reported(store: redis.Redis, with_redis: WithRedis) -> None:
    async def report(now: Running) -> None:
        await now.reporter.write()
        resting = now.endpoints["asleep"]
        now.context.trouble("asleep", "read a queue", "WRONGTYPE")
        await now.reporter.write()
        assert b"WRONGTYPE" in store.hvals(keys.REPORTS)[0]
        now.context.trouble("asleep", "read a queue", None)
        await now.reporter.write()
        assert b"WRONGTYPE" not in store.hvals(keys.REPORTS)[0]
        resting.place(is_placed=False)
        await now.reporter.write()
        assert now.states()["asleep"] == ["not placed"]
        resting.begin_asleep(7.0)
        resting.place(is_placed=True)
        resting.receive([queued_job("a")])
        assert await now.reporter.write()  # there are jobs
        assert now.states()["asleep"] == ["loading"]

    run(with_redis, store, report)


def test_a_report_that_redis_kept_waiting_holds_up_the_next_ones_for_a_second_at_most(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def report(now: Running) -> None:
        reporting = asyncio.create_task(now.reporter.run())
        try:
            await until(lambda: store.exists(keys.REPORTS))
            store.client_pause(_PAUSE_MS, all=False)
            now.context.trouble("awake", "read a queue", "the first")
            await until(lambda: b"the first" in store.hvals(keys.REPORTS)[0])
            began = time.monotonic()
            now.context.trouble("awake", "read a queue", "the second")
            await until(lambda: b"the second" in store.hvals(keys.REPORTS)[0])
            assert time.monotonic() - began < _PAUSE_MS / 1000 * reporter_module._MOST_SHARE / 2
        finally:
            reporting.cancel()

    run(with_redis, store, report)


def test_served_revisions_are_written_when_they_are_new_and_again_after_a_while(
    store: redis.Redis, with_redis: WithRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def report(now: Running) -> None:
        await now.reporter.write()
        assert store.hgetall(keys.SERVED) == {b"asleep": b"1", b"awake": b"1"}
        store.delete(keys.SERVED)
        await now.reporter.write()
        assert not store.exists(keys.SERVED)
        monkeypatch.setattr(reporter_module, "_SERVED_AGAIN_S", 0.0)
        await now.reporter.write()
        assert store.hlen(keys.SERVED) == 2

    run(with_redis, store, report)
