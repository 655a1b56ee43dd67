"""How much is measured: a full run, a quick one, and a tiny one that only shows that the bench works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Rounds, counts and lengths."""

    rounds: int
    #: Length of each stretch under load, and of the one before it that doesn't count.
    seconds: float
    warm_up_s: float
    #: Jobs of a drain, and of a drain by a system that takes a forest's jobs one by one: rates are compared.
    drained: int
    drained_slowly: int
    #: Jobs at one client.
    latency_jobs: int
    #: Jobs in one bulk request, and how many requests.
    bulk_jobs: int
    bulk_requests: int
    #: Deployments on one worker.
    deployments: tuple[int, ...]
    #: Jobs that wait already.
    backlogs: tuple[int, ...]
    #: Starts that are timed.
    starts: int
    #: Offered loads of the plot (jobs/s) and its sizes of batch.
    loads_per_s: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    #: Requests that are held and event streams that are open at once, as far as sockets permit.
    held_waits: int
    held_streams: int


FULL = Scale(
    rounds=3,
    seconds=2.5,
    warm_up_s=0.5,
    drained=5_000,
    drained_slowly=500,
    latency_jobs=300,
    bulk_jobs=1_000,
    bulk_requests=5,
    deployments=(1, 10, 100, 300),
    backlogs=(1_000, 10_000, 100_000, 1_000_000),
    starts=3,
    loads_per_s=(5, 10, 20, 40, 60, 80, 120, 200, 400, 800, 1_200),
    batch_sizes=(1, 2, 4, 8, 16, 32, 64, 128, 256),
    held_waits=10_000,
    held_streams=5_000,
)
QUICK = Scale(
    rounds=2,
    seconds=1.0,
    warm_up_s=0.2,
    drained=2_000,
    drained_slowly=200,
    latency_jobs=100,
    bulk_jobs=500,
    bulk_requests=3,
    deployments=(1, 10),
    backlogs=(1_000, 10_000),
    starts=1,
    loads_per_s=(10, 40, 80, 160),
    batch_sizes=(1, 8, 64),
    held_waits=1_000,
    held_streams=500,
)
TINY = Scale(
    rounds=1,
    seconds=0.3,
    warm_up_s=0.1,
    drained=50,
    drained_slowly=10,
    latency_jobs=10,
    bulk_jobs=20,
    bulk_requests=1,
    deployments=(1, 2),
    backlogs=(100,),
    starts=1,
    loads_per_s=(10, 20),
    batch_sizes=(1, 8),
    held_waits=20,
    held_streams=10,
)
