"""Snapshots of deployments: they contain the data of a submit, and count only if a worker reports the revision."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from registry.deployments import DesiredDeployment
from registry.signatures.signature import Signature
from tests.workers.conftest import WithRedis
from tests.workers.stand_ins import deployment, endpoint_report, version_report, worker_report
from workers import keys
from workers.deployments import snapshots
from workers.measures import reports
from workers.measures.reports import HostsState

SERVED = deployment(revision=3, max_queue_length=7, expires_in_s=60.0, timeout_s=5.0)


def keep(store: redis.Redis, desired: DesiredDeployment) -> None:
    text = snapshots.encode(desired)
    assert text is not None
    store.hset(keys.DEPLOYMENTS, desired.endpoint_name, text)


def report(with_redis: WithRedis, revision: int) -> None:
    """Write a worker's report of this revision."""
    endpoints = {"adding": endpoint_report(version_report(HostsState.READY, revision=revision))}
    with_redis(lambda client: reports.write(client, worker_report(endpoints=endpoints)))


def test_a_snapshot_is_the_deployment_but_for_its_artifact_and_example(
    store: redis.Redis, with_redis: WithRedis
) -> None:
    keep(store, SERVED)
    report(with_redis, SERVED.revision)
    expected = replace(SERVED, artifact_sha256="", artifact_size_bytes=0, input_example=None)
    assert snapshots.read("adding") == expected


def test_what_no_living_worker_reports_has_no_snapshot(store: redis.Redis, with_redis: WithRedis) -> None:
    keep(store, SERVED)
    assert snapshots.read("adding") is None
    report(with_redis, SERVED.revision + 1)
    assert snapshots.read("adding") is None, "it was left behind by workers that keep it up to date no more"


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON", '{"format": 2}', '{"format": 1, "model_name": "adder"}', None])
def test_what_can_not_be_read_is_no_snapshot(store: redis.Redis, with_redis: WithRedis, text: str | None) -> None:
    report(with_redis, 3)
    if text is not None:
        store.hset(keys.DEPLOYMENTS, "adding", text)
    assert snapshots.read("adding") is None
    assert snapshots.read("no endpoint's name") is None


def test_a_very_long_signature_has_no_snapshot() -> None:
    fields = {f"column{number}": {"dtype": "float"} for number in range(5_000)}
    long = replace(SERVED, signature=Signature.parse({"kind": "named", "fields": fields}))
    assert snapshots.encode(long) is None
