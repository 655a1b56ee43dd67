"""How long a process needs from its start to its first answer, and a deployment to its first prediction."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.figures.measurement import Measurement
from bench.load_client import Client, request
from bench.models import SMALL, model_of
from bench.scale import Scale
from bench.systems import templates
from bench.systems.base import System
from bench.systems.flask_service import START_LIMIT_S
from bench.systems.queuecast import Queuecast
from bench.systems.tutorial import Tutorial

_LOOK_S = 0.01


def starts(folder: Path, pickles: Path, scale: Scale) -> Iterator[Measurement]:
    """Stop and start the processes of services that run already, several times."""
    with Queuecast(folder / "queuecast", [SMALL]) as mine, Tutorial(folder / "tutorial", pickles, [SMALL]) as other:
        for number in range(scale.starts):
            yield Measurement("start_api", SMALL, _api_s(mine, "/health/ready"), mine.name)
            yield Measurement("start_api", SMALL, _api_s(other, "/jobs/x"), other.name)
            yield Measurement("start_worker", SMALL, _worker_s(mine), mine.name)
            yield Measurement("start_worker", SMALL, _worker_s(other), other.name)
            yield Measurement("start_deploy", SMALL, _deploy_s(mine, f"{SMALL}-{number}"), mine.name)


def _api_s(system: Queuecast | Tutorial, path: str) -> float:
    def start() -> None:
        system.start_api()
        _wait_until_answered(system, path)

    system.stop_api()
    return _timed(start)


def _wait_until_answered(system: System, path: str) -> None:
    """Ask until the answer is 200. Raises RuntimeError if it isn't in time."""
    ends_at = time.monotonic() + START_LIMIT_S
    while asyncio.run(_status(system.port, path)) != 200:
        if time.monotonic() > ends_at:
            raise RuntimeError(f"{system.name}'s {path} is not answered in {START_LIMIT_S:.0f} s")
        time.sleep(_LOOK_S)


async def _status(port: int, path: str) -> int | None:
    client = Client(port)
    try:
        await client.connect()
        return (await client.ask(request("GET", path)))[0]
    except OSError:
        return None
    finally:
        client.close()


def _worker_s(system: Queuecast | Tutorial) -> float:
    job_ids = templates.ids(1)

    def start() -> None:
        system.start_worker()
        system.wait_until_answered(job_ids, START_LIMIT_S)

    system.stop_worker()
    with system.redis() as client:
        system.put(client, SMALL, job_ids)
    return _timed(start)


def _deploy_s(system: Queuecast, endpoint_name: str) -> float:
    def deploy() -> None:
        system.stack.deploy(SMALL, endpoint_name=endpoint_name)
        system.stack.predict(endpoint_name, model_of(SMALL).row)

    return _timed(deploy)


def _timed(action: Callable[[], None]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began
