"""What is known of versions, the default budget, and the memory of real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from redis.asyncio import Redis

from tests.workers.conftest import WithRedis
from tests.workers.stand_ins import deployment
from workers import keys
from workers.engine.memory import limit
from workers.engine.memory.budget import MEBIBYTE, Need
from workers.engine.memory.versions import LIVES_S, VersionFacts, Versions
from workers.hosts import processes

CHECKSUM = "0" * 64


def test_a_measurement_is_known_to_all_workers_for_a_while_and_a_guess_follows_the_artifact(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    async def measure(client: Redis) -> None:
        here, there = Versions(client), Versions(client)
        small = await here.need(deployment())
        large = await here.need(replace(deployment(), artifact_size_bytes=100 * MEBIBYTE))
        assert not small.is_measured
        assert large.host_bytes - small.host_bytes == pytest.approx(200 * MEBIBYTE, rel=0.01)
        await here.loaded(CHECKSUM, 7.0)  # nothing is known of its memory yet
        await here.measured_loaded(CHECKSUM, 30 * MEBIBYTE)
        await here.measured(CHECKSUM, 50 * MEBIBYTE)
        await here.measured(CHECKSUM, 40 * MEBIBYTE)
        await here.loaded(CHECKSUM, 120.0)
        await here.measured_loaded(CHECKSUM, 31 * MEBIBYTE)  # about the same
        assert await there.need(deployment()) == Need(50 * MEBIBYTE, is_measured=True, least_bytes=30 * MEBIBYTE)
        assert await there.facts([CHECKSUM]) == {CHECKSUM: VersionFacts(50 * MEBIBYTE, 120.0, 30 * MEBIBYTE)}

    with_redis(measure)
    assert 0 < store.ttl(keys.version_facts(CHECKSUM)) <= LIVES_S


def test_the_most_that_an_earlier_release_has_measured_is_no_proof_that_a_version_does_not_fit(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    store.set(keys.version_facts(CHECKSUM), json.dumps({"host_bytes": 500 * MEBIBYTE, "load_ms": 7.0}))

    async def read(client: Redis) -> None:
        need = await Versions(client).need(deployment())
        assert (need.host_bytes, need.is_measured) == (500 * MEBIBYTE, False)
        assert need.start_bytes < 20 * MEBIBYTE

    with_redis(read)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host_bytes": null}', '{"host_bytes": 1, "loaded_bytes": []}'])
def test_unreadable_facts_are_as_none(store: redis.Redis, with_redis: WithRedis, text: str) -> None:
    store.set(keys.version_facts(CHECKSUM), text)

    async def read(client: Redis) -> None:
        assert await Versions(client).facts([CHECKSUM]) == {}

    with_redis(read)


@pytest.mark.parametrize(("setting", "expected"), [(0, None), (64, 64 * MEBIBYTE)])
def test_the_budget_can_be_set_and_0_is_none(setting: int, expected: int | None) -> None:
    assert limit.limit_bytes(setting) == expected


@pytest.mark.parametrize(("cgroup", "expected"), [("max\n", 800), ("500000\n", 400)])
def test_by_default_it_is_a_share_of_the_machine_or_of_its_cgroup(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cgroup: str, expected: int
) -> None:
    texts = {"/proc/meminfo": "MemFree: 9 kB\nMemTotal:    1000 kB\n", limit._CGROUP_FILES[0]: cgroup}
    monkeypatch.setattr(limit, "_text", lambda path: texts.get(path, ""))
    assert limit.limit_bytes(None) == pytest.approx(expected * 1000, rel=0.03)


@pytest.mark.skipif(sys.platform != "linux", reason="smaps_rollup is Linux's")
def test_the_private_memory_of_a_process_is_what_it_has_alone() -> None:
    program = "block = bytearray(64 << 20); print('ready', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        used = processes.memory_usage(process.pid)
        process.kill()
    assert 64 * MEBIBYTE < used.private_bytes <= used.pss_bytes < 90 * MEBIBYTE
    assert processes.memory_usage(process.pid) == (0, 0)
