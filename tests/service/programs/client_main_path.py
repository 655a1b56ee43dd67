"""A program of a user, with nothing but the installed `queuecast_client`: what most programs do with it.

Arguments: the URL of a service, and an endpoint of it that serves the example `quadratic_predictor`.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from typing import Any

import pandas as pd

import queuecast_client
from queuecast_client import AsyncClient, Client, EndpointNotDeployed, InputInvalid, InputNotJson, WaitTimedOut

ENDPOINT = sys.argv[2]


def expected(number: float) -> float:
    """Return what the service predicts alone."""
    return float(client.predict(ENDPOINT, number))


def blocking() -> None:
    """Submit, wait, poll, map, and predict a table."""
    job = client.submit(ENDPOINT, 2.5, expires_in_s=600)
    assert job.wait(timeout_s=30).status == "succeeded"
    assert job.result == expected(2.5)
    again = client.job(job.job_id).refresh()
    assert (again.ended, again.outcome.version, again.result) == (True, "1", job.result)
    assert job.job_id in [each.job_id for each in client.jobs(endpoint_name=ENDPOINT)]
    numbers = [each / 100 for each in range(250)]
    assert client.predict(ENDPOINT, inputs=numbers[:3]) == [expected(each) for each in numbers[:3]]
    results = list(client.map(ENDPOINT, numbers, inputs_a_job=50, progress=True))
    assert results[7] == expected(numbers[7])
    unordered = dict(client.map_unordered(ENDPOINT, numbers[:20]))
    assert [unordered[index] for index in range(20)] == results[:20]
    frame = pd.DataFrame({"x": numbers[:30]}, index=range(100, 130))
    table = client.map(ENDPOINT, frame)
    assert list(table.index) == list(frame.index)
    assert table["prediction"].tolist() == results[:30]


def errors() -> None:
    """Tell the errors apart."""
    assert raised(InputInvalid, ENDPOINT, "high").field == "input"
    assert raised(EndpointNotDeployed, "nothing", 1).status == 404
    raised(InputNotJson, ENDPOINT, float("inf"))
    found = list(client.map(ENDPOINT, [1.5, "wrong"], on_error="return"))
    assert isinstance(found[1], InputInvalid)
    assert found[1].index == 1
    assert issubclass(WaitTimedOut, queuecast_client.ClientError)


def raised(kind: type[queuecast_client.ClientError], endpoint_name: str, value: object) -> Any:
    """Return the error of a prediction."""
    try:
        client.predict(endpoint_name, value)
    except kind as error:
        return error
    raise AssertionError(kind)


async def awaited() -> None:
    """Do the same with asyncio."""
    async with AsyncClient(client.url) as service:
        found = await asyncio.gather(*(service.predict(ENDPOINT, each) for each in (1.0, 2.0)))
        assert found == [expected(1.0), expected(2.0)]
        job = await service.submit(ENDPOINT, 2.5)
        assert (await job.wait()).result == expected(2.5)

        async def numbers() -> AsyncIterator[float]:
            for number in (1.5, 2.5):
                yield number

        assert [each async for each in service.map(ENDPOINT, numbers())] == [expected(1.5), expected(2.5)]
        assert {index async for index, _ in service.map_unordered(ENDPOINT, [1.5, 2.5])} == {0, 1}
        table = await service.map(ENDPOINT, pd.DataFrame({"x": [1.5]}))
        assert table["prediction"].tolist() == [expected(1.5)]


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    with Client(sys.argv[1]) as client:
        blocking()
        errors()
        asyncio.run(awaited())
    print("all done on", sys.version.split()[0])
