"""Offers jobs at a steady rate, each to a deployment by a Zipf distribution, and compares every answer."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import httpx

from bench.density.kinds import Kind

_WAIT_S = 30
#: A job without an outcome after this has failed.
_PATIENCE_S = 180.0
_UNFINISHED = ("queued", "running")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job that is due."""

    at_s: float
    name: str
    row: int


@dataclass(frozen=True, slots=True)
class Job:
    """A job with its outcome."""

    name: str
    #: From the moment when it was due until its outcome was here.
    took_s: float
    #: Why it has no right answer; None if it has.
    failed: str | None = None
    is_wrong: bool = False


def arrivals(kind_of: Mapping[str, Kind], zipf: float, rate: float, seconds: float, seed: int) -> Iterator[Arrival]:
    """Yield jobs at random moments, the first deployment the most often; the same seed draws the same jobs."""
    draw, names = random.Random(seed), list(kind_of)
    weights = [1 / (rank + 1) ** zipf for rank in range(len(names))]
    at_s = draw.expovariate(rate)
    while at_s < seconds:
        [name] = draw.choices(names, weights)
        yield Arrival(at_s, name, draw.randrange(len(kind_of[name].rows)))
        at_s += draw.expovariate(rate)


def offer(url: str, kind_of: Mapping[str, Kind], due: Sequence[Arrival]) -> list[Job]:
    """Submit each job when it is due, whatever became of those before; return all once they have ended."""
    return asyncio.run(_offer(url, kind_of, due))


def wake(url: str, kind_of: Mapping[str, Kind], names: Collection[str]) -> None:
    """Have these deployments answer a job each, so that their hosts are there."""
    offer(url, kind_of, [Arrival(0.0, name, 0) for name in names])


async def _offer(url: str, kind_of: Mapping[str, Kind], due: Sequence[Arrival]) -> list[Job]:
    began = time.monotonic()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx.AsyncClient(base_url=url, timeout=_WAIT_S + 30, limits=limits) as api:
        tasks = []
        for each in due:
            await asyncio.sleep(max(0.0, began + each.at_s - time.monotonic()))
            tasks.append(asyncio.create_task(_job(api, kind_of[each.name], each, began + each.at_s)))
        return await asyncio.gather(*tasks)


async def _job(api: httpx.AsyncClient, kind: Kind, arrival: Arrival, due_at: float) -> Job:
    try:
        answer = await _answer(api, arrival.name, kind.rows[arrival.row], due_at + _PATIENCE_S)
    except httpx.HTTPError as error:
        return Job(arrival.name, time.monotonic() - due_at, failed=f"{arrival.name}: {error!r}")
    took_s = time.monotonic() - due_at
    document = answer.json()
    outcome = document if "prediction" in document else document.get("outcome")
    if answer.status_code != 200 or outcome is None:
        return Job(arrival.name, took_s, failed=f"{arrival.name}: {answer.status_code} {answer.text[:1000]}")
    return Job(arrival.name, took_s, is_wrong=outcome["prediction"] != kind.answers[arrival.row])


async def _answer(api: httpx.AsyncClient, name: str, row: list[float], ends_at: float) -> httpx.Response:
    """Return the answer once the job has ended, or when it has taken too long."""
    answer = await api.post(f"/predict/{name}", json={"input": row}, headers={"Prefer": f"wait={_WAIT_S}"})
    if answer.status_code != 202:
        return answer
    path = f"/jobs/{answer.json()['job_id']}?wait={_WAIT_S}"
    while time.monotonic() < ends_at:
        answer = await api.get(path)
        if answer.status_code != 200 or answer.json()["status"] not in _UNFINISHED:
            break
    return answer
