"""The Python client against the whole service, with its model hosts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from api.client import (
    AsyncClient,
    Client,
    ClientError,
    Conflict,
    DeploymentFailed,
    EndpointNotDeployed,
    InputInvalid,
    JobCancelled,
    JobFailed,
    WaitTimedOut,
)
from tests.support.documentation import documented_output, documented_program
from tests.support.models import Echo, Gate, Mortal, Same, Unloadable, dumped
from tests.support.service.stack import Stack


@pytest.fixture
def client(service: Stack) -> Iterator[Client]:
    with Client(service.url, timeout_s=30) as client:
        yield client


def register(client: Client, name: str, model: object, **named: object) -> None:
    client.register(name, dumped(model), runtime="python", **{"input_example": "example", **named})  # type: ignore[arg-type]


def test_a_model_is_registered_deployed_swapped_and_taken_down(client: Client, name: str, tmp_path: Path) -> None:
    register(client, name, Echo("one"))
    (tmp_path / "model.pkl").write_bytes(dumped(Echo("two")))
    second = client.register(name, tmp_path / "model.pkl", runtime="python", input_example="x", metadata={"by": "Ada"})
    assert (second.version, second.metadata, client.model_version(name, "2")) == ("2", {"by": "Ada"}, second)
    assert [each.version for each in client.model(name).versions] == ["1", "2"]
    assert name in [each.name for each in client.models()]
    deployed = client.deploy(name, version="1", endpoint_name=name, max_batch_size=8)
    assert (deployed.status, deployed.version, deployed.settings["max_batch_size"]) == ("active", "1", 8)
    assert client.predict(name, "x") == ["one", "x"]
    assert client.swap(name).version == "2"
    assert client.predict(name, "x") == ["two", "x"]
    assert client.predict(model_name=name, inputs=["x", "y"]) == [["two", "x"], ["two", "y"]]
    assert client.deployment(name).version == "2"
    assert [each.status for each in client.undeploy(name)] == ["undeployed"]
    assert name not in [each.endpoint_name for each in client.deployments()]
    with pytest.raises(EndpointNotDeployed):
        client.submit(name, "x")


def test_a_version_that_cannot_be_loaded_is_told_with_the_workers_reason(client: Client, name: str) -> None:
    register(client, name, Unloadable())
    with pytest.raises(DeploymentFailed, match="the weights are missing"):
        client.deploy(name, endpoint_name=name)


def test_jobs_are_waited_for_cancelled_and_found_again(client: Client, name: str, tmp_path: Path) -> None:
    register(client, name, Gate("m"))
    client.deploy(name, endpoint_name=name, max_batch_size=1)
    gates = [str(tmp_path / each) for each in ("first", "second", "third", "fourth")]
    submitted = [client.submit(name, each) for each in gates]
    with pytest.raises(WaitTimedOut):
        submitted[0].wait(timeout_s=0.1)
    assert submitted[3].cancel().status == "cancelled"
    with pytest.raises(JobCancelled):
        _ = submitted[3].result
    for gate in gates:
        Path(gate).touch()
    assert submitted[0].wait().result == ["m", gates[0]]
    assert submitted[0].outcome.version == "1"
    with pytest.raises(Conflict):
        client.job(submitted[0].job_id).cancel()
    assert submitted[0].job_id in [each.job_id for each in client.jobs(endpoint_name=name, status="succeeded")]


def test_thousands_of_inputs_are_mapped_in_order_with_failures_among_them(client: Client, name: str) -> None:
    register(client, name, Mortal("m"))
    client.deploy(name, endpoint_name=name)
    bad = {1_003: "raise", 2_500: 7, 4_999: "raise"}
    inputs = [bad.get(number, f"{number}") for number in range(5_000)]
    found = list(client.map(name, inputs, on_error="return"))
    assert [each for each in found if not isinstance(each, ClientError)] == [
        ["m", value] for number, value in enumerate(inputs) if number not in bad
    ]
    errors = [each for each in found if isinstance(each, ClientError)]
    assert [(type(each), each.index) for each in errors] == [
        (JobFailed, 1_003), (InputInvalid, 2_500), (JobFailed, 4_999)
    ]  # fmt: skip
    assert "this row is not liked" in str(errors[0])
    with pytest.raises(JobFailed):
        list(client.map(name, ["a", "raise", "b"]))
    assert sorted(client.map_unordered(name, ["a", "b"])) == [(0, ["m", "a"]), (1, ["m", "b"])]


def test_arrays_come_back_as_arrays(client: Client, name: str) -> None:
    register(client, name, Same(), input_example=[1.0, 2.0])
    client.deploy(name, endpoint_name=name)
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert np.array_equal(client.predict(name, rows[0]), rows[0])
    assert np.array_equal(client.predict(name, inputs=rows), rows)
    assert np.array_equal(client.submit(name, rows[1]).wait().result, rows[1])
    assert np.array_equal(np.stack(list(client.map(name, rows))), rows)
    assert client.predict(name, [1.0, 2.0]) == [1.0, 2.0]


def test_asyncio_programs_have_the_same(service: Stack, client: Client, name: str) -> None:
    register(client, name, Echo("m"))

    async def numbers() -> AsyncIterator[str]:
        for number in range(300):
            yield str(number)

    async def run() -> None:
        async with AsyncClient(service.url, timeout_s=30) as asking:
            await asking.deploy(name, endpoint_name=name)
            predictions = await asyncio.gather(*(asking.predict(name, str(number)) for number in range(30)))
            assert predictions == [["m", str(number)] for number in range(30)]
            job = await asking.submit(name, "x")
            assert (await job.wait()).result == ["m", "x"]
            assert [each async for each in asking.map(name, numbers())] == [["m", str(n)] for n in range(300)]
            assert len([each async for each in asking.map_unordered(name, ["a", "b"])]) == 2
            assert (await asking.model(name)).latest_version == "1"

    asyncio.run(run())


def test_the_examples_of_the_documentation_run_and_print_what_they_say(
    registered: Stack, client: Client, tmp_path: Path
) -> None:
    for model_name in ("binary_classifier", "quadratic_predictor"):
        client.deploy(model_name, version="1")
    (tmp_path / "examples.py").write_text(documented_program("client.md"))
    output = registered.run(str(tmp_path / "examples.py")).stdout
    said = documented_output("client.md")
    assert len(said) == 5
    assert [each.pattern for each in said if not each.search(output)] == [], output
