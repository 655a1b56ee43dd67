"""The Open Inference Protocol in this process: addresses, errors, waits, encodings, and what the index says."""

from __future__ import annotations

import gzip
import json
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, cast

import numpy as np
import pytest
from flask import Flask

from api.settings import ApiSettings
from tests.api.conftest import MAX_BYTES, Client, View
from tests.api.described_client import Answer
from tests.api.stand_in_worker import StandInWorker
from tests.support.waiting import eventually
from workers.jobs import query
from workers.jobs.query import JobState
from workers.measures.reports import HostsState
from workers.platform.redis.client import records_client
from workers.queues.naming import queue_name
from workers.queues.priorities import Priority

INFER = "/v2/models/adding/infer"
HEADER = "Inference-Header-Content-Length"


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings(max_body_bytes=MAX_BYTES, max_artifact_bytes=MAX_BYTES, deployment_cache_s=0, max_wait_s=20)


def request(rows: list[list[float]], **more: Any) -> dict[str, Any]:
    data = [each for row in rows for each in row]
    return {"inputs": [{"name": "x", "shape": [len(rows), 2], "datatype": "FP64", "data": data}], **more}


def unwaited(rows: list[list[float]]) -> dict[str, Any]:
    return request(rows, parameters={"timeout": 1_000})


def answered(app: Flask, worker: StandInWorker, predictions: list[Any], **sent: Any) -> Answer:
    """Send an inference, have the worker answer it, and return what came back."""

    path = sent.pop("path", INFER)
    with ThreadPoolExecutor(1) as one:
        coming = one.submit(app.test_client().post, path, **sent)
        worker.succeed(_queued_job_id(), "adding", predictions, many=True)
        return cast("Answer", coming.result())


def _queued_job_id() -> str:
    [job] = eventually(lambda: query.recent("adding", JobState.QUEUED), 10) or []
    return job.job_id


def error(answer: Answer, status: int, code: str) -> str:
    assert (answer.status_code, answer.mimetype) == (status, "application/json"), answer.text
    assert answer.json["code"] == code
    text: str = answer.json["error"]
    assert text == answer.json["detail"]
    return text


def test_an_inference_answers_in_the_protocols_words(
    app: Flask, client: Client, adding: View, worker: StandInWorker
) -> None:
    answer = answered(
        app, worker, [{"sum": 3.0, "label": "a"}, {"sum": 7.5, "label": "b"}], json=request([[1, 2], [3, 4.5]], id="7")
    )
    assert answer.status_code == 200, answer.text
    job_id = answer.json["parameters"]["job_id"]
    assert answer.json == {
        "model_name": "adding",
        "model_version": "1",
        "id": "7",
        "parameters": {"job_id": job_id, "endpoint_name": "adding"},
        "outputs": [
            {"name": "sum", "datatype": "FP64", "shape": [2], "data": [3.0, 7.5]},
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]},
        ],
    }
    assert client.get(f"/jobs/{job_id}").json["outcome"]["predictions"][1] == {"sum": 7.5, "label": "b"}


@pytest.mark.parametrize("path", ["/v2/models/adding", "/v2/models/adder", "/v2/models/adder/versions/1"])
def test_a_model_is_called_by_its_endpoint_or_by_its_name(
    app: Flask, client: Client, adding: View, worker: StandInWorker, path: str
) -> None:
    answer = answered(app, worker, [3], path=f"{path}/infer", json=request([[1, 2]]))
    assert (answer.status_code, answer.json["model_name"]) == (200, path.split("/")[3])


@pytest.mark.parametrize("path", ["/v2/models/nope", "/v2/models/adding/versions/2", "/v2/models/adder/versions/2"])
def test_what_is_not_deployed_is_not_found(client: Client, adding: View, path: str) -> None:
    said = error(client.post(f"{path}/infer", json=request([[1, 2]])), 404, "endpoint_not_deployed")
    assert said.startswith("Request for unknown model")
    for what in ("", "/ready", "/config", "/stats"):
        error(client.get(f"{path}{what}"), 404, "endpoint_not_deployed")


def test_a_wait_that_runs_out_is_an_error_that_names_the_job(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    answer = client.post(INFER, json=unwaited([[1, 2]]))
    assert "has not ended while this request waited, at most 0.001 s" in error(answer, 504, "job_unfinished")
    job_id, url = answer.json["job_id"], answer.json["url"]
    worker.succeed(job_id, "adding", [3], many=True)
    assert client.get(url).json["outcome"]["predictions"] == [3]


def test_a_job_that_fails_is_an_error_with_the_models_reason(
    client: Client, app: Flask, adding: View, worker: StandInWorker
) -> None:
    with ThreadPoolExecutor(1) as one:
        coming = one.submit(lambda: app.test_client().post(INFER, json=request([[1, 2]])))
        worker.fail(_queued_job_id(), "adding", "this row is not liked")
        answer = cast("Answer", coming.result())
    assert "this row is not liked" in error(answer, 500, "prediction_failed")


def test_a_repeated_inference_under_an_idempotency_key_is_the_same_job(client: Client, adding: View) -> None:
    first, second = (
        client.post(INFER, json=unwaited([[1, 2]]), headers={"Idempotency-Key": "a"}).json["job_id"] for _ in range(2)
    )
    assert first == second


def test_a_row_that_the_model_does_not_take_is_named(client: Client, adding: View) -> None:
    raw = np.array([[1, 2], [3, np.nan]]).tobytes()
    header = json.dumps(
        {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP64", "parameters": {"binary_data_size": 32}}]}
    )
    answer = client.post(INFER, data=header.encode() + raw, headers={HEADER: str(len(header))})
    assert "inputs[1][1] must be a finite number" in error(answer, 422, "input_invalid")


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        (b"no", "json_invalid", 400),
        (b"", "json_invalid", 400),
        (b"[]", "request_invalid", 422),
        (b'{"inputs": []}', "request_invalid", 422),
        (b'{"inputs": [{"name": "x", "shape": [-1], "datatype": "FP32", "data": []}]}', "request_invalid", 422),
        (b'{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": ["1", "2"]}]}', "request_invalid", 422),
    ],
)
def test_a_request_that_is_none_is_refused(client: Client, adding: View, body: bytes, code: str, status: int) -> None:
    error(client.post(INFER, data=body), status, code)


@pytest.mark.parametrize("length", ["5", "x", "-1", "1" * 5_000, "²"])
def test_a_header_length_that_is_wrong_is_refused(client: Client, adding: View, length: str) -> None:
    answer = client.post(INFER, data=b"{}", headers={HEADER: length.encode().decode("latin-1")})
    error(answer, 400, "request_malformed")


@pytest.mark.parametrize("encode", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
def test_requests_may_be_compressed(client: Client, adding: View, encode: Any) -> None:
    encoding = "gzip" if encode is gzip.compress else "deflate"
    sent = encode(json.dumps(unwaited([[1, 2]])).encode())
    error(client.post(INFER, data=sent, headers={"Content-Encoding": encoding}), 504, "job_unfinished")
    error(client.post(INFER, data=sent[:-3], headers={"Content-Encoding": encoding}), 400, "request_malformed")
    error(client.post(INFER, data=b"{}", headers={"Content-Encoding": encoding}), 400, "request_malformed")
    bomb = encode(b" " * (MAX_BYTES + 1))
    error(client.post(INFER, data=bomb, headers={"Content-Encoding": encoding}), 413, "body_too_large")


def test_another_content_encoding_is_refused(client: Client, adding: View) -> None:
    error(client.post(INFER, data=b"{}", headers={"Content-Encoding": "br"}), 415, "media_type_wrong")


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("br, deflate, gzip", "gzip"),
        ("gzip;q=0", None),
        ("identity", None),
        (None, None),
    ],
)
def test_long_answers_are_compressed_as_is_accepted(
    app: Flask, adding: View, worker: StandInWorker, accepted: str | None, encoding: str | None
) -> None:
    rows = [[float(number), 0.0] for number in range(500)]
    headers = {} if accepted is None else {"Accept-Encoding": accepted}
    asked = request(rows, parameters={"binary_data_output": True})
    app.test_client_class = Client
    answer = answered(app, worker, [row[0] for row in rows], json=asked, headers=headers)
    assert answer.headers.get("Content-Encoding") == encoding
    content = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[encoding](answer.data)  # type: ignore[operator]
    length = int(answer.headers[HEADER])
    [output] = json.loads(content[:length])["outputs"]
    assert output == {"name": "output", "datatype": "FP64", "shape": [500], "parameters": {"binary_data_size": 4_000}}
    assert np.frombuffer(content[length:]).tolist() == [row[0] for row in rows]


def test_an_output_says_for_itself_whether_it_is_binary_and_goes_by_the_name_it_is_asked_for(
    app: Flask, client: Client, adding: View, worker: StandInWorker
) -> None:
    wanted = [{"name": "OUTPUT0", "parameters": {"binary_data": False}}]
    asked = request([[1, 2]], outputs=wanted, parameters={"binary_data_output": True, "sequence_id": 5, "priority": 1})
    answer = answered(app, worker, [3], json=asked)
    assert answer.json["outputs"] == [{"name": "OUTPUT0", "datatype": "INT64", "shape": [1], "data": [3]}]


def test_an_output_that_is_not_there_is_named(app: Flask, client: Client, adding: View, worker: StandInWorker) -> None:
    asked = request([[1, 2]], outputs=[{"name": "sum"}, {"name": "product"}])
    said = error(answered(app, worker, [{"sum": 3, "label": "a"}], json=asked), 422, "request_invalid")
    assert said == "outputs[1].name: is 'product'; the outputs are sum, label."


def test_metadata_is_what_the_input_example_shows(client: Client, adding: View, worker: StandInWorker) -> None:
    unknown = client.get("/v2/models/adder").json
    assert unknown == {
        "name": "adder",
        "versions": ["1"],
        "platform": "queuecast_python",
        "inputs": [{"name": "input", "datatype": "FP64", "shape": [-1, 2]}],
        "outputs": [],
    }
    worker.report(adding)
    assert client.get("/v2/models/adder").json == {
        **unknown,
        "outputs": [{"name": "output", "datatype": "FP64", "shape": [-1]}],
    }


def test_inputs_have_the_models_own_datatypes_and_bounds(client: Client, adding: View) -> None:
    fields = {"x": {"dtype": "float32"}, "n": {"dtype": "int", "nullable": True, "required": False}}
    client.register("narrow", input_example=None, signature={"kind": "named", "fields": fields})
    client.deploy("narrow", "narrow")
    assert client.get("/v2/models/narrow").json["inputs"] == [
        {"name": "x", "datatype": "FP32", "shape": [-1]},
        {"name": "n", "datatype": "INT64", "shape": [-1], "parameters": {"nullable": True, "required": False}},
    ]
    assert client.get("/v2/models/narrow/config").json["input"] == [
        {"name": "x", "data_type": "TYPE_FP32", "dims": []},
        {"name": "n", "data_type": "TYPE_INT64", "dims": [], "optional": True},
    ]
    tensor = {"name": "x", "shape": [2], "datatype": "FP64", "data": [1, 1e300]}
    said = error(client.post("/v2/models/narrow/infer", json={"inputs": [tensor]}), 422, "input_invalid")
    assert said.startswith("inputs[1].x must be a number from -3.4028235e+38 to 3.4028235e+38 (float32)")


def test_a_model_is_ready_once_a_worker_has_it(client: Client, adding: View, worker: StandInWorker) -> None:
    assert client.get("/v2/models/adding/ready").json == {"name": "adding", "ready": False}
    worker.report(adding, HostsState.LOADING)
    assert client.get("/v2/models/adding/versions/1/ready").status_code == 503
    worker.report(adding)
    answer = client.get("/v2/models/adding/versions/1/ready")
    assert (answer.status_code, answer.json) == (200, {"name": "adding", "ready": True})


def test_the_configuration_says_the_serving_settings(client: Client, adding: View) -> None:
    assert client.get("/v2/models/adding/config").json["max_batch_size"] == 64
    client.deploy(max_batch_size=7, hosts=3, max_batch_delay_ms=1.5)
    config = client.get("/v2/models/adding/config").json
    assert (config["max_batch_size"], config["instance_group"][0]["count"]) == (7, 3)
    assert config["dynamic_batching"] == {"max_queue_delay_microseconds": 1_500}
    assert config["input"] == [{"name": "input", "data_type": "TYPE_FP64", "dims": [2]}]


def test_the_index_has_endpoints_and_versions_with_their_states(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    client.register(version="2")

    def index(**body: Any) -> list[tuple[str, str, str]]:
        answer = client.post("/v2/repository/index", **body)
        return [(each["name"], each["version"], each["state"]) for each in answer.json]

    unloaded = ("adder", "2", "UNAVAILABLE")
    assert index() == [("adder", "1", "LOADING"), unloaded, ("adding", "1", "LOADING")]
    worker.report(adding)
    assert index() == [("adder", "1", "READY"), unloaded, ("adding", "1", "READY")]
    assert index(json={"ready": True}) == [("adder", "1", "READY"), ("adding", "1", "READY")]
    assert client.post("/v2/repository/models/adding/unload").json == {}
    assert index() == [("adder", "1", "UNLOADING"), unloaded, ("adding", "1", "UNLOADING")]
    worker.drop("adding")
    assert index() == [("adder", "1", "UNAVAILABLE"), unloaded]


def test_loading_deploys_the_latest_version_and_an_endpoint_as_it_was(
    client: Client, adding: View, worker: StandInWorker
) -> None:
    client.register(version="2")
    config = {
        "max_batch_size": "5",
        "instance_group": [{"count": 2}],
        "version_policy": {"specific": {"versions": [1]}},
    }
    calls = [("adder", {}, "adder-v2"), ("adder", {"config": json.dumps(config)}, "adder-v1"), ("adding", {}, "adding")]
    for name, parameters, endpoint_name in calls:
        path, body = f"/v2/repository/models/{name}/load", {"parameters": parameters}
        with ThreadPoolExecutor(1) as one:
            before = _revision(client, endpoint_name)
            loading = one.submit(client.application.test_client().post, path, json=body)
            eventually(partial(_revised, client, endpoint_name, before), 10)
            worker.report(client.get(f"/deployments/{endpoint_name}").json)
            assert loading.result().status_code == 200
    settings = client.get("/deployments/adder-v1").json["settings"]
    assert (settings["max_batch_size"], settings["hosts"]) == (5, 2)
    assert client.get("/v2/models/adder").json["versions"] == ["2", "1"]


def _revision(client: Client, endpoint_name: str) -> int:
    answer = client.get(f"/deployments/{endpoint_name}")
    return int(answer.json["revision"]) if answer.status_code == 200 else 0


def _revised(client: Client, endpoint_name: str, before: int) -> bool:
    return _revision(client, endpoint_name) > before


@pytest.mark.parametrize(
    ("parameters", "status", "code"),
    [
        ({"config": "{"}, 400, "json_invalid"),
        ({"config": "[]"}, 422, "request_invalid"),
        ({"config": '{"max_batch_size": 99999}'}, 422, "request_invalid"),
        ({"config": '{"max_batch_size": "many"}'}, 422, "request_invalid"),
        ({"config": '{"instance_group": [{"count": [1]}]}'}, 422, "request_invalid"),
        ({"config": '{"dynamic_batching": {"max_queue_delay_microseconds": "x"}}'}, 422, "request_invalid"),
        ({"config": "{}", "file:1/model.onnx": "eA=="}, 501, "unsupported"),
    ],
)
def test_a_load_that_can_not_be_done_is_refused(
    client: Client, adding: View, parameters: View, status: int, code: str
) -> None:
    said = error(client.post("/v2/repository/models/adder/load", json={"parameters": parameters}), status, code)
    assert said.startswith("failed to load 'adder': ")


def test_loading_or_unloading_what_is_not_there_is_not_found(client: Client, adding: View) -> None:
    error(client.post("/v2/repository/models/nope/load"), 404, "model_not_found")
    error(client.post("/v2/repository/models/nope/unload"), 404, "deployment_not_found")


def test_unloading_a_model_undeploys_each_of_its_endpoints(client: Client, adding: View) -> None:
    client.deploy("adding-too")
    assert client.post("/v2/repository/models/adder/unload").status_code == 200
    assert client.get("/deployments").json["deployments"] == []


def test_statistics_count_jobs_and_their_time(client: Client, adding: View, worker: StandInWorker) -> None:
    assert client.get("/v2/models/adding/stats").json["model_stats"][0]["last_inference"] == 0
    for _ in range(2):
        worker.succeed(client.submit(), "adding", 3)
    worker.fail(client.submit(), "adding", "no")
    [of_model] = client.get("/v2/models/adder/versions/1/stats").json["model_stats"]
    [of_all] = client.get("/v2/models/stats").json["model_stats"]
    assert (of_model["name"], of_all["name"]) == ("adder", "adding")
    assert {**of_model, "name": "adding"} == of_all
    assert (of_all["inference_count"], of_all["inference_stats"]["success"]) == (2, {"count": 2, "ns": 4_000_000})
    assert of_all["inference_stats"]["fail"] == {"count": 1, "ns": 2_000_000}
    finished_at = max(each.finished_at or 0 for each in query.recent("adding", JobState.SUCCEEDED))
    assert of_all["last_inference"] == round(finished_at * 1_000)


def test_the_server_says_who_it_is_and_how_it_is(client: Client) -> None:
    assert client.get("/v2").json["name"] == "queuecast"
    assert client.get("/v2/health/live").json == {"live": True}
    assert client.get("/v2/health/ready").json == {"ready": True}


@pytest.mark.parametrize(
    "path",
    [
        "trace/setting",
        "models/a/trace/setting",
        "logging",
        "systemsharedmemory/status",
        "cudasharedmemory/region/a/register",
    ],
)
def test_parts_of_the_protocol_that_are_not_here_say_so(client: Client, path: str) -> None:
    error(client.post(f"/v2/{path}"), 501, "unsupported")
    error(client.get(f"/v2/{path}"), 501, "unsupported")


def test_errors_of_addresses_and_methods_are_in_the_protocols_words_too(client: Client) -> None:
    error(client.get("/v2/nothing"), 404, "not_found")
    error(client.delete("/v2"), 405, "method_not_allowed")
    assert client.get("/v2nothing").mimetype == "application/problem+json"


@pytest.mark.parametrize(("number", "level"), [(0, "normal"), (1, "high"), (2, "low"), (9, "low")])
def test_numbers_of_the_protocol_are_priorities(client: Client, adding: View, number: int, level: str) -> None:
    client.post(INFER, json=request([[1, 2]], parameters={"timeout": 1_000, "priority": number}))
    assert records_client().llen(queue_name("adding", Priority(level))) == 1
