"""The Python client while the API is killed and Redis is away: no job is lost, and none is there twice."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from api.client import Client
from tests.support.models import Recorder
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

INPUTS = 3_000


@pytest.mark.long
def test_a_map_goes_on_when_the_api_is_killed_and_when_redis_is_restarted(
    service: Stack, name: str, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    service.register(name, Recorder(runs))
    service.deploy(name, endpoint_name=name)
    found: list[Any] = []

    def api_dies() -> None:
        service.server.kill()
        service.start_server()

    def redis_restarts() -> None:
        service.redis.stop()
        service.redis.start()

    def has(results: int) -> bool:
        return len(found) >= results

    def trouble() -> None:
        faults: list[tuple[int, Callable[[], None]]] = [(1, api_dies), (700, redis_restarts), (1_400, api_dies)]
        for results, fault in faults:
            eventually(partial(has, results), 60, interval_s=0.001)
            fault()

    def collect() -> None:
        for prediction in client.map(name, map(str, range(INPUTS)), window=1_200):
            found.append(prediction)  # noqa: PERF402 - counted meanwhile

    # The server is started here, for it ends with the thread that has started it.
    with Client(service.url) as client, ThreadPoolExecutor(1) as pool:
        collecting = pool.submit(collect)
        trouble()
        collecting.result(60)
        assert found == [["", str(number)] for number in range(INPUTS)]
        assert client.deployment(name).request_count == INPUTS
    assert len(set(runs.read_text().split())) == INPUTS
