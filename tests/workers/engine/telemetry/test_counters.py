"""The counters of a worker, and their export."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace

import pytest
from msgspec import Raw
from prometheus_client import CollectorRegistry, generate_latest

from registry.deployments import DesiredDeployment
from tests.support.metrics import Scrape, scrape
from tests.support.service.ports import free_port
from tests.workers.stand_ins import deployment, queued_job
from workers.engine.telemetry.counters import EngineCounters, Histogram
from workers.engine.telemetry.metrics_server import MetricsServer, WorkerCollector
from workers.hosts.worker_side.host import Answer
from workers.measures.counters import Kind
from workers.measures.reports import MemoryReport

SERVED = {"adding": "1"}


def exported(counters: EngineCounters, served: dict[str, str]) -> Scrape:
    registry = CollectorRegistry()
    registry.register(WorkerCollector(counters, lambda: served))
    return Scrape(generate_latest(registry).decode())


def version(number: int) -> DesiredDeployment:
    return replace(deployment(), version=str(number))


@pytest.fixture
def counters() -> EngineCounters:
    return EngineCounters("w@1")


def test_a_value_is_counted_in_the_bucket_whose_bound_it_does_not_exceed() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value)
    assert histogram.buckets() == [("1.0", 2), ("2.0", 3), ("+Inf", 4)]
    assert histogram.total == 12.0


def test_a_batch_is_counted_by_its_rows_its_jobs_and_their_ends(counters: EngineCounters) -> None:
    batch = [queued_job("a", rows=3, submitted_at=9.0), queued_job("b", submitted_at=7.0)]
    batch += [queued_job("c", submitted_at=None), queued_job("ahead", submitted_at=11.0)]
    counters.predicted(version(1), batch, Answer(1, [Raw(b"0")] * 6, {}, 250.0), started_at=10.0)
    counters.ended(version(1), [Kind.SUCCEEDED, Kind.SUCCEEDED, Kind.FAILED])
    counters.host_lost(version(1))
    found = exported(counters, SERVED)
    labels = {"endpoint": "adding", "version": "1"}
    expected = {"succeeded": 2, "failed": 1, "withdrawn": 0}
    assert found.by("outcome", "queuecast_jobs_total", **labels) == expected
    assert found.value("queuecast_batch_rows_sum", **labels) == 6
    assert found.value("queuecast_batch_predict_seconds_sum", **labels) == 0.25
    # The submit time of "c" is unknown; the clock of the client that submitted "ahead" is ahead.
    assert found.value("queuecast_job_queued_seconds_count", **labels) == 3
    assert found.value("queuecast_job_queued_seconds_sum", **labels) == 1 + 3 + 0
    assert found.value("queuecast_host_restarts_total", **labels) == 1


def test_what_is_served_has_series_from_the_beginning_and_what_is_not_has_none(counters: EngineCounters) -> None:
    assert exported(counters, SERVED).value("queuecast_jobs_total", endpoint="adding", outcome="failed") == 0
    assert exported(counters, {}).of("adding") == set()
    counters.ended(version(1), [Kind.FAILED])
    assert exported(counters, {}).of("adding") == set()
    counters.forget("adding")
    assert exported(counters, SERVED).value("queuecast_jobs_total", endpoint="adding", outcome="failed") == 0


def test_only_the_last_versions_of_an_endpoint_are_kept(counters: EngineCounters) -> None:
    for number in range(1, 30):
        counters.ended(version(number), [Kind.SUCCEEDED])
    found = exported(counters, {"adding": "29"}).by("version", "queuecast_jobs_total", outcome="succeeded")
    assert len(found) == 8
    assert found["29"] == 1


@pytest.mark.slow
def test_servers_with_the_same_port_take_one_after_the_other_and_leave_nothing_behind(counters: EngineCounters) -> None:
    collector, port = WorkerCollector(counters, lambda: SERVED), free_port()
    before = threading.active_count()
    servers = [MetricsServer(collector, "127.0.0.1", port) for _ in range(2)]
    assert servers[0].port == port != servers[1].port
    for server in servers:
        assert "queuecast_jobs_total" in scrape(f"http://127.0.0.1:{server.port}").names
        server.close()
        server.close()
    assert threading.active_count() == before
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_server_that_can_not_listen_says_so_and_the_worker_goes_on(
    counters: EngineCounters, caplog: pytest.LogCaptureFixture
) -> None:
    # An address of documentation, which no machine has.
    server = MetricsServer(WorkerCollector(counters, lambda: SERVED), "192.0.2.1", free_port())
    assert server.port is None
    assert "no metrics" in caplog.text
    server.close()


def test_it_shows_which_endpoints_the_worker_serves_and_took_over(counters: EngineCounters) -> None:
    registry = CollectorRegistry()
    served = {"adding": "1", "left": "1"}
    registry.register(WorkerCollector(counters, lambda: served, placed=lambda: {"adding"}))
    counters.took_over("adding")
    found = Scrape(generate_latest(registry).decode())
    assert [found.value("queuecast_endpoint_placed", endpoint=name) for name in served] == [1, 0]
    assert [found.value("queuecast_takeovers_total", endpoint=name) for name in served] == [1, 0]
    counters.forget("adding")
    assert counters.takeovers("adding") == 0


def test_cold_starts_and_evictions_are_counted_and_the_memory_is_shown(counters: EngineCounters) -> None:
    for seconds in (0.3, 0.1, 0.2):
        counters.cold_start(version(1), seconds)
    counters.evicted(version(1))
    registry = CollectorRegistry()
    memory: MemoryReport = {
        "used_bytes": 7, "budget_bytes": 9, "evictions": 1,
        "cold_starts": 3, "cold_start_p50_ms": 200.0, "cold_start_p95_ms": 300.0,
    }  # fmt: skip
    registry.register(WorkerCollector(counters, lambda: SERVED, lambda: memory))
    found = Scrape(generate_latest(registry).decode())
    labels = {"endpoint": "adding", "version": "1"}
    assert found.value("queuecast_cold_start_seconds_count", **labels) == 3
    assert found.value("queuecast_cold_start_seconds_sum", **labels) == pytest.approx(0.6)
    assert found.value("queuecast_evictions_total", **labels) == 1
    assert found.value("queuecast_worker_memory_bytes") == 7
    assert found.value("queuecast_worker_memory_budget_bytes") == 9
    assert (counters.cold_starts, counters.cold_start_s(0.5), counters.cold_start_s(0.95)) == (3, 0.2, 0.3)
    assert EngineCounters("w@2").cold_start_s(0.5) is None
