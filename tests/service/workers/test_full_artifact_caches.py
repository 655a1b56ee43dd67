"""Workers keep the artifacts that their hosts use, and others only up to the limit of the cache."""

from __future__ import annotations

from pathlib import Path

from tests.service.conftest import StartWorker
from tests.support.models import Echo
from tests.support.service.stack import Stack
from tests.support.waiting import eventually


def test_a_cache_without_room_has_what_hosts_use_and_loses_it_after_them(
    service: Stack, name: str, group_worker: StartWorker, tmp_path: Path
) -> None:
    folder = tmp_path / "cache"
    one_byte = {"QUEUECAST_ARTIFACT_CACHE_DIR": str(folder), "QUEUECAST_ARTIFACT_CACHE_MAX_BYTES": "1"}
    for number in (1, 2):
        group_worker(str(number), **one_byte)
    sha256_of = {}
    for mark in "abc":
        endpoint = f"{name}-{mark}"
        sha256_of[mark] = service.register(endpoint, Echo(mark))["artifact_sha256"]
        service.deploy(endpoint, endpoint_name=endpoint, worker_group=name)

    def cached() -> set[str]:
        return {path.name for path in folder.iterdir()}

    assert cached() == set(sha256_of.values())
    service.undeploy(f"{name}-a")
    service.register(f"{name}-d", Echo("d"))
    service.deploy(f"{name}-d", endpoint_name=f"{name}-d", worker_group=name)
    eventually(lambda: sha256_of["a"] not in cached())
    assert {sha256_of["b"], sha256_of["c"]} < cached()
