"""How fast a queue that is full when the worker begins is worked off, until the last answer is there."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx

from bench.figures.measurement import Measurement
from bench.models import FOREST, QUADRATIC
from bench.scale import Scale
from bench.systems import templates
from bench.systems.base import QueueSystem, System, Unsupported
from bench.systems.queuecast import Queuecast

_LIMIT_S = 120.0
QUIET = "quadratic-quiet"


def drain(system: System, scale: Scale) -> Iterator[Measurement]:
    """Measure jobs per second."""
    if not isinstance(system, QueueSystem):
        return
    yield Measurement("drain", QUADRATIC, rate(system, QUADRATIC, scale.drained))
    slow = system.name in ("tutorial", "floor")
    yield Measurement("drain", FOREST, rate(system, FOREST, scale.drained_slowly if slow else scale.drained))


def drain_without_events(system: System, scale: Scale) -> Iterator[Measurement]:
    """Measure the same of a deployment that sends no events; the baselines send none in `drain` either."""
    if isinstance(system, Queuecast):
        _deploy_quiet(system)
        yield Measurement("drain_quiet", QUADRATIC, rate(system, QUIET, scale.drained))


def rate(system: QueueSystem, model: str, count: int) -> float:
    """Return jobs per second of so many jobs, put into the queue while the consumer stands still."""
    job_ids = templates.ids(count)
    with system.paused(), system.redis() as client:
        system.put(client, model, job_ids)
        began = time.monotonic()
    system.wait_until_answered(job_ids, _LIMIT_S)
    return count / (time.monotonic() - began)


def _deploy_quiet(system: Queuecast) -> None:
    answer = system.stack.api.get(f"/deployments/{QUIET}")
    if answer.status_code == httpx.codes.OK:
        return
    wanted = {"model_name": QUADRATIC, "endpoint_name": QUIET, "events": "off"}
    answer = system.stack.api.post("/deployments/deploy", json=wanted, headers={"Prefer": "wait=60"})
    if answer.status_code in (400, 422):
        raise Unsupported(f'a deployment with "events": "off" is answered {answer.status_code}')
    answer.raise_for_status()
