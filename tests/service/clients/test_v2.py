"""Clients of the Open Inference Protocol that know nothing of ours: tritonclient, sync and asyncio, unmodified."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient import http as triton
from tritonclient.http import aio as triton_aio
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.support.documentation import documented_file
from tests.support.models import Gate, Same
from tests.support.service.stack import Stack

RNG = np.random.default_rng(0)
INTEGERS = (np.uint8, np.uint16, np.uint32, np.uint64, np.int8, np.int16, np.int32, np.int64)
NUMBERS = (*INTEGERS, np.float16, np.float32, np.float64)
KINDS = {"float": NUMBERS, "int": INTEGERS, "bool": (np.bool_,), "str": (np.object_,)}
#: What the answer of the model that answers with its input has, by the dtype of that.
ANSWERED = {"float": np.float64, "int": np.int64, "bool": np.bool_, "str": np.object_}
CASES = [(kind, dtype) for kind, dtypes in KINDS.items() for dtype in dtypes]
ENCODINGS = [None, "gzip", "deflate"]


@pytest.fixture(scope="module")
def client(service: Stack) -> Iterator[Any]:
    with triton.InferenceServerClient(f"127.0.0.1:{service.port}", concurrency=4) as client:
        yield client


@pytest.fixture(scope="module")
def same(service: Stack) -> Iterator[str]:
    """What the endpoints of a model that answers with its input begin with: "same-float", "same-int", …"""
    for kind in KINDS:
        signature: dict[str, Any] = {"kind": "vector", "dtype": kind, "shape": [None]}
        example = {"float": [0.5], "int": [1], "bool": [True], "str": ["a"]}[kind]
        service.register(f"same-{kind}", Same(), example, signature=signature)
        service.deploy(f"same-{kind}", wait_s=0, endpoint_name=f"same-{kind}")
    service.register("person", Same(), {"name": "Ada", "age": 36.5, "pair": [1.5, 2.5], "tags": ["a"]})
    service.deploy("person", wait_s=0, endpoint_name="person")
    # As the page tells those who want to run the client's own examples.
    service.run("-c", documented_file("v2.md", "simple_model.py"))
    service.deploy("simple", wait_s=0, endpoint_name="simple")
    for name in (*(f"same-{kind}" for kind in KINDS), "person", "simple"):
        service.wait_for_status(name, "active")
    yield "same"
    for name in (*(f"same-{kind}" for kind in KINDS), "person", "simple"):
        service.undeploy(name, "reject", wait_s=0)


@pytest.fixture(scope="module")
def quadratic(service: Stack) -> str:
    """The example models, as `make run` has them; returns the name of the one that is a plain function."""
    if service.api.get("/models/quadratic_predictor").status_code == 404:
        service.register_examples()
    for name in ("quadratic_predictor", "binary_classifier"):
        service.deploy(name, wait_s=0)
        service.wait_for_status(f"{name}-v1", "active")
    return "quadratic_predictor"


def values(dtype: type) -> Any:
    if dtype is np.object_:
        return np.array([["a", "ü€", ""], ["x" * 300, "\n", "b"]], dtype=np.object_)
    if dtype is np.bool_:
        return np.array([[True, False, True], [False, False, True]])
    if issubclass(dtype, np.integer):
        least, most = np.iinfo(dtype).min, min(np.iinfo(dtype).max, 2**63 - 1)
        return np.array([[least, most, 0], [1, 2, 3]], dtype=dtype)
    return RNG.normal(size=(2, 3)).astype(dtype)


def tensor(data: Any, *, name: str = "INPUT0", binary: bool = True) -> Any:
    made = triton.InferInput(name, list(data.shape), np_to_triton_dtype(data.dtype))
    made.set_data_from_numpy(data, binary_data=binary)
    return made


def plain(data: Any) -> Any:
    """Values as they are compared: texts come back as bytes where they came as bytes."""
    decoded = [each.decode() if isinstance(each, bytes) else each for each in data.ravel().tolist()]
    return decoded, list(data.shape)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize(("kind", "dtype"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_every_datatype_goes_through_as_it_is(client: Any, same: str, kind: str, dtype: type, binary: bool) -> None:
    sent = values(dtype)
    wanted = [triton.InferRequestedOutput("output", binary_data=binary)]
    result = client.infer(f"{same}-{kind}", [tensor(sent, binary=binary)], outputs=wanted)
    answer = result.as_numpy("output")
    assert answer.dtype == ANSWERED[kind] or (kind == "float" and answer.dtype == np.int64)
    assert plain(answer) == plain(sent)


@pytest.mark.parametrize("algorithm", ENCODINGS)
def test_bodies_are_compressed_as_the_client_asks(client: Any, same: str, algorithm: str | None) -> None:
    sent = RNG.normal(size=(500, 4)).astype(np.float32)
    result = client.infer(
        f"{same}-float",
        [tensor(sent)],
        request_id="7",
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert (result.as_numpy("output") == sent).all()
    assert result.get_response()["id"] == "7"


def test_each_field_of_an_object_is_an_input_and_an_output(client: Any, same: str) -> None:
    sent = {
        "name": np.array(["Ada", "Alan"], dtype=np.object_),
        "age": np.array([36.5, 41.25], dtype=np.float32),
        "pair": np.array([[1.5, 2], [3, 4]], dtype=np.float64),
        "tags": np.array([["a"], ["b"]], dtype=np.object_),
    }
    metadata = client.get_model_metadata("person")
    assert {each["name"]: each["shape"] for each in metadata["inputs"]} == {
        "name": [-1], "age": [-1], "pair": [-1, 2], "tags": [-1, 1],
    }  # fmt: skip
    result = client.infer("person", [tensor(data, name=name) for name, data in sent.items()])
    for name, data in sent.items():
        assert plain(result.as_numpy(name)) == plain(data)


def test_metadata_says_of_outputs_what_an_inference_answers(client: Any, quadratic: str) -> None:
    for model, columns in ((quadratic, []), ("binary_classifier", [3])):
        metadata = client.get_model_metadata(model)
        [described] = metadata["inputs"]
        assert described == {"name": "input", "datatype": "FP64", "shape": [-1, *columns]}
        answer = client.infer(model, [tensor(RNG.random((5, *columns)), name=described["name"])]).get_response()
        assert [
            {"name": each["name"], "datatype": each["datatype"], "shape": [-1, *each["shape"][1:]]}
            for each in answer["outputs"]
        ] == [{key: each[key] for key in ("name", "datatype", "shape")} for each in metadata["outputs"]]
        assert all(each["shape"][0] == 5 for each in answer["outputs"])


@pytest.mark.parametrize("algorithm", ENCODINGS)
def test_the_clients_own_example_gets_what_it_expects(client: Any, same: str, algorithm: str | None) -> None:
    """Two INT32 inputs of shape [1, 16], one in JSON and one binary, and outputs of both kinds, or none named."""
    first: Any = np.arange(16, dtype=np.int32).reshape(1, 16)
    second: Any = np.full((1, 16), -1, dtype=np.int32)
    inputs = [tensor(first, name="INPUT0", binary=False), tensor(second, name="INPUT1")]
    wanted = [triton.InferRequestedOutput("OUTPUT0"), triton.InferRequestedOutput("OUTPUT1", binary_data=False)]
    options = {
        "query_params": {"test_1": 1, "test_2": 2},
        "request_compression_algorithm": algorithm,
        "response_compression_algorithm": algorithm,
    }
    for outputs in (wanted, None):
        results = client.infer("simple", inputs, outputs=outputs, **options)
        assert (results.as_numpy("OUTPUT0") == first + second).all()
        assert (results.as_numpy("OUTPUT1") == first - second).all()
    coming = [client.async_infer("simple", inputs, outputs=wanted, **options) for _ in range(4)]
    assert all((each.get_result().as_numpy("OUTPUT0") == first + second).all() for each in coming)
    assert len(client.get_inference_statistics("simple")["model_stats"]) == 1
    with pytest.raises(InferenceServerException) as caught:
        client.infer("wrong_model_name", inputs)
    assert caught.value.message().startswith("Request for unknown model")


def test_probabilities_are_one_tensor_whose_columns_are_named(client: Any, quadratic: str) -> None:
    result = client.infer("binary_classifier", [tensor(np.array([[0.5, 0.8, 0.2]]))], model_version="1")
    assert result.as_numpy("label").tolist() == [b"malignant"]
    assert json.loads(result.get_output("probabilities")["parameters"]["keys"]) == ["benign", "malignant"]
    assert result.as_numpy("probabilities").sum() == pytest.approx(1)


def test_the_asyncio_client_does_all_of_it_too(service: Stack, same: str) -> None:
    sent = RNG.normal(size=(500, 4)).astype(np.float32)

    async def talk() -> None:
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{service.port}") as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready(f"{same}-float", "1")
            assert (await client.get_server_metadata())["name"] == "queuecast"
            assert (await client.get_model_metadata(f"{same}-float"))["outputs"][0]["name"] == "output"
            assert (await client.get_model_config(f"{same}-float"))["max_batch_size"] == 64
            assert await client.get_model_repository_index()
            assert await client.get_inference_statistics()
            for algorithm in ENCODINGS:
                compression = {
                    "request_compression_algorithm": algorithm,
                    "response_compression_algorithm": algorithm,
                }
                result = await client.infer(f"{same}-float", [tensor(sent)], **compression)
                assert (result.as_numpy("output") == sent).all()
            with pytest.raises(InferenceServerException, match="is not loaded"):
                await client.infer("nope", [tensor(sent)])

    asyncio.run(talk())


def test_a_wait_that_runs_out_raises_with_the_jobs_id_which_ends_later(
    service: Stack, client: Any, name: str, tmp_path: Path
) -> None:
    service.register(name, Gate())
    service.deploy(name)
    gate = tmp_path / "gate"
    with pytest.raises(InferenceServerException, match=r"has not ended .* at most 0\.05 s") as caught:
        client.infer(name, [tensor(np.array([str(gate)], dtype=np.object_))], timeout=50_000, priority=1)
    assert caught.value.status() == "504"
    job_id = caught.value.message().split()[1]
    gate.touch()
    assert service.job(job_id)["outcome"]["predictions"] == [["", str(gate)]]


def test_what_the_server_refuses_raises_with_its_reason(client: Any, same: str) -> None:
    for model, data, reason in (
        ("nope", np.array([1.0]), "is not loaded"),
        (f"{same}-float", np.array([[np.nan]]), r"inputs\[0\]\[0\] must be a finite number"),
        (f"{same}-int", np.array([[1.5]]), r"inputs\[0\].datatype: must be one of UINT8"),
        (f"{same}-bool", np.array([[[True]]]), r"inputs\[0\].shape: must be \[-1, -1\]"),
        ("person", np.array(["Ada"], dtype=np.object_), "must be each of these once: name, age, pair"),
    ):
        with pytest.raises(InferenceServerException, match=reason):
            client.infer(model, [tensor(data)])


def test_models_are_loaded_and_unloaded(service: Stack, client: Any, name: str) -> None:
    service.register(name, Same())
    service.register(name, Same())

    def states() -> dict[str, str]:
        return {
            f"{each['name']} {each['version']}": each["state"]
            for each in client.get_model_repository_index()
            if each["name"].startswith(name)
        }

    assert states() == {f"{name} 1": "UNAVAILABLE", f"{name} 2": "UNAVAILABLE"}
    assert not client.is_model_ready(name)
    client.load_model(name, config=json.dumps({"max_batch_size": "9"}))
    assert client.is_model_ready(name)
    assert not client.is_model_ready(name, "1")
    assert client.get_model_config(name)["max_batch_size"] == 9
    assert states() == {f"{name} 1": "UNAVAILABLE", f"{name} 2": "READY", f"{name}-v2 2": "READY"}
    client.unload_model(name, unload_dependents=True)
    assert not client.is_model_ready(name)
    client.load_model(f"{name}-v2")
    assert client.is_model_ready(name, "2")
    with pytest.raises(InferenceServerException, match="failed to load 'nope': There is no model 'nope'"):
        client.load_model("nope")


def test_statistics_count_the_inferences(service: Stack, client: Any, name: str) -> None:
    service.register(name, Same())
    service.deploy(name)
    for _ in range(3):
        client.infer(name, [tensor(np.array(["a"], dtype=np.object_))])
    [of_it] = client.get_inference_statistics(name, "1")["model_stats"]
    assert (of_it["name"], of_it["version"], of_it["inference_count"]) == (name, "1", 3)
    assert of_it["inference_stats"]["success"]["ns"] > 0
    assert of_it["last_inference"] > 0
    assert f"{name}-v1" in [each["name"] for each in client.get_inference_statistics()["model_stats"]]


def test_what_is_not_here_raises_with_a_reason(client: Any) -> None:
    for ask in (client.get_trace_settings, client.get_log_settings, client.get_system_shared_memory_status):
        with pytest.raises(InferenceServerException, match="has no trace settings"):
            ask()
