"""The event loop and the Flask app answer alike: one corpus of requests, good, bad and hostile, of every role."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder, TestResponse

from api.app import create_app
from api.edge.call import plan_of
from api.edge.handler import Handler
from api.settings import ApiSettings, AuthMode
from registry.access import api_keys
from registry.database import default_database
from registry.roles import Role
from tests.api.conftest import MAX_BYTES, Client, View
from tests.api.stand_in_worker import StandInWorker
from tests.support.edge import EdgeFirst

GOOD = {"input": [0.5, 2]}
JSON = "application/json"
_CHANGING = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00"), "<time>"),
    (re.compile(r'"position": ?\d+'), "<position>"),
    (re.compile(r'"estimated_wait_s": ?[\d.]+'), "<estimate>"),
]


class Sent(NamedTuple):
    """A request of the corpus; `JOB` in its path stands for a job that has ended, `QUEUED` for one that has not."""

    method: str
    path: str
    body: bytes | str | dict[str, Any] | list[Any] | None = None
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed
    content_type: str | None = JSON


def post(path: str, body: Any = None, content_type: str | None = JSON, /, **headers: str) -> Sent:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Sent("POST", path, GOOD if body is None else body, named, content_type)


CORPUS = [
    post("/predict/adding"),
    post("/predict/adding", {"inputs": [[1, 2], [3, 4]]}),
    post("/predict/adding", {"input": [1, 2], "priority": "high", "expires_in_s": 60}),
    post("/predict/adding", GOOD, Prefer="wait=0"),
    post("/predict/adding", GOOD, Prefer='foo="a,b";x=1, wait=0'),
    post("/predict/adding", GOOD, Prefer="wait=abc"),
    post("/predict/adding", GOOD, X_Request_ID="mine"),
    post("/predict/adding", GOOD, X_Request_ID="not usable {}"),
    post("/predict/adding", GOOD, "text/plain"),
    post("/predict/adding", b"\xef\xbb\xbf" + json.dumps(GOOD).encode()),
    post("/predict/adding", gzip.compress(json.dumps(GOOD).encode()), Content_Encoding="gzip"),
    post("/predict/adding", b"no gzip", Content_Encoding="gzip"),
    post("/predict/adding", GOOD, Content_Encoding="br"),
    post("/predict/adding", gzip.compress(b" " * 2 * MAX_BYTES), Content_Encoding="gzip"),
    post("/predict/adding", b"x" * (MAX_BYTES + 1)),
    post("/predict/adding", b""),
    post("/predict/adding", b"{"),
    post("/predict/adding", b'{"input": NaN}'),
    post("/predict/adding", b'{"input": [1e999, 2]}'),
    post("/predict/adding", b"[" * 200 + b"]" * 200),
    post("/predict/adding", b'{"input": "\xff"}'),
    post("/predict/adding", b'"text"'),
    post("/predict/adding", []),
    post("/predict/adding", {}),
    post("/predict/adding", {"input": [1, 2], "inputs": [[1, 2]]}),
    post("/predict/adding", {"input": [1, 2], "unknown": 1}),
    post("/predict/adding", {"input": [1]}),
    post("/predict/adding", {"inputs": [[1, 2], ["a", 2]]}),
    post("/predict/adding", {"inputs": []}),
    post("/predict/adding", {"input": [1, 2], "priority": "urgent"}),
    post("/predict/adding", {"input": [1, 2], "expires_in_s": "soon"}),
    post("/predict/adding", {"input": [1, 2], "callback_url": "https://example.com/hook"}),
    post("/predict/adding", GOOD, Idempotency_Key=""),
    post("/predict/adding", GOOD, Idempotency_Key="x" * 300),
    post("/predict/adding", GOOD, Idempotency_Key="same key"),
    post("/predict/adding", {"input": [3, 4]}, Idempotency_Key="same key"),
    post("/predict/adding?unknown=1"),
    post("/predict/nothing"),
    post("/predict/%61dding"),
    post("/predict/a%2Fb"),
    post("/predict/%ff%fe"),
    post("/predict/n%C3%A4he"),
    post("/predict/"),
    post("//predict/adding"),
    post("/predict/adding/"),
    post("/predict/adding/bulk", [GOOD, GOOD]),
    post("/predict/adding/bulk", '{"input": [1, 2]}\n\n{"input": [3, 4]}\n', "application/x-ndjson"),
    post("/predict/adding/bulk", '{"input": [1, 2]}\n{"input": [3]}\n', "application/x-ndjson; charset=utf-8"),
    post("/predict/adding/bulk", b""),
    post("/predict/adding/bulk", []),
    post("/predict/adding/bulk", [GOOD, {"input": 1}]),
    post("/predict/adding/bulk", {"input": [1, 2]}),
    post("/predict/nothing/bulk", [GOOD]),
    post("/predict", {"model_name": "adder", "input": [1, 2]}),
    post("/predict", {"model_name": "adder", "version": 1, "input": [1, 2]}),
    post("/predict", {"model_name": "adder", "version": "9", "input": [1, 2]}),
    post("/predict", {"model_name": "", "input": [1, 2]}),
    post("/predict", {"input": [1, 2]}),
    post("/predict/adding", {"input": [1, 2], "then": ["adding", "adding"]}),
    post("/predict/adding", {"input": [1, 2], "then": ["nothing"]}),
    post("/predict/adding", {"input": [1, 2], "then": []}),
    post("/predict", {"model_name": "adder", "input": [1, 2], "then": ["adding"]}),
    post("/pipelines", {"steps": [{"endpoint_name": "adding", "input": [1, 2]}, {"endpoint_name": "adding"}]}),
    post("/pipelines", {"steps": [{"endpoint_name": "adding", "inputs": [[1, 2]]}]}, Prefer="wait=0"),
    post("/pipelines", {"steps": [{"endpoint_name": "adding", "input": [1]}]}),
    post("/pipelines", {"steps": [{"endpoint_name": "adding"}, {"endpoint_name": "adding", "input": 1}]}),
    post("/pipelines", {"steps": [{"endpoint_name": "nothing", "input": 1}]}),
    post("/pipelines", {"steps": []}),
    post("/pipelines", b"{"),
    Sent("GET", "/jobs/JOB"),
    Sent("GET", "/jobs/JOB?wait=1"),
    Sent("GET", "/jobs/JOB?wait=1&wait=2"),
    Sent("GET", "/jobs/JOB?wait=soon"),
    Sent("GET", "/jobs/JOB?wait=-1"),
    Sent("GET", "/jobs/JOB?wait=nan"),
    Sent("GET", "/jobs/JOB?what=%ff"),
    Sent("GET", "/jobs/QUEUED"),
    Sent("GET", "/jobs/unknown"),
    Sent("GET", "/jobs/unknown?wait=50"),
    Sent("GET", "/jobs/%F0%9F%98%80"),
    Sent("HEAD", "/jobs/JOB"),
    Sent("OPTIONS", "/jobs/JOB"),
    Sent("DELETE", "/jobs/JOB"),
    Sent("PUT", "/jobs/JOB"),
    post("/jobs/lookup", {"job_ids": ["JOB", "unknown", "QUEUED"]}),
    post("/jobs/lookup?wait=0.01", {"job_ids": ["JOB", "unknown"]}),
    post("/jobs/lookup", {"job_ids": []}),
    post("/jobs/lookup", {"job_ids": [1]}),
    post("/jobs/lookup?wait=x", {"job_ids": ["JOB"]}),
    Sent("GET", "/jobs/JOB/events"),
    Sent("GET", "/jobs/QUEUED/events"),
    Sent("GET", "/jobs/unknown/events"),
    Sent("GET", "/jobs/JOB/events?ticket=wrong"),
    Sent("GET", "/jobs/JOB/events?other=1"),
    post("/v2/models/nothing/infer", {"inputs": []}),
    post("/v2/models/adding/infer", {"inputs": [{"name": "input", "shape": [1], "datatype": "FP32", "data": [1]}]}),
    post("/v2/models/adding/infer", b"{"),
    post("/v2/models/adding/versions/7/infer", {"inputs": []}),
    post("/v2/models/adding/infer", b"xy", Inference_Header_Content_Length="99"),
    post("/predict/adding", GOOD, X_Forwarded_For="192.0.2.1"),
    post("/predict/adding", GOOD, Host="evil.example"),
    post("/predict/adding", GOOD, Origin="https://evil.example"),
    post("/predict/adding", GOOD, Origin="https://shop.example"),
    post("/predict/adding", GOOD, traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    Sent(
        "OPTIONS", "/predict/adding", None, {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    ),
]


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings(
        max_body_bytes=MAX_BYTES, deployment_cache_s=0, event_stream_s=0.05, cors_origins="https://shop.example"
    )


@pytest.fixture
def jobs(client: Client, adding: View, worker: StandInWorker) -> dict[str, str]:
    ended, queued = client.submit(), client.submit()
    worker.succeed(ended, "adding", 3.0)
    return {"JOB": ended, "QUEUED": queued}


Ask = Callable[[Sent, dict[str, str]], tuple[Any, Any]]


@pytest.fixture
def ask(app: Flask, jobs: dict[str, str]) -> Iterator[Ask]:
    """Sends a request to both; returns what is comparable of their answers."""
    edge_first = app.wsgi_app
    assert isinstance(edge_first, EdgeFirst)

    def both(sent: Sent, more: dict[str, str]) -> tuple[Any, Any]:
        answers = []
        for through in (edge_first, edge_first._flask):
            app.wsgi_app = through  # type: ignore[method-assign]
            answers.append(comparable(opened(FlaskClient(app, TestResponse), sent, more, jobs)))
        return answers[0], answers[1]

    yield both
    app.wsgi_app = edge_first  # type: ignore[method-assign]


def opened(client: FlaskClient, sent: Sent, more: dict[str, str], jobs: dict[str, str]) -> TestResponse:
    path, body = sent.path, sent.body
    text = json.dumps(body) if isinstance(body, (dict, list)) else body
    for name, job_id in jobs.items():
        path = path.replace(name, job_id)
        text = text.replace(name, job_id) if isinstance(text, str) else text
    builder = EnvironBuilder(
        path,
        method=sent.method,
        data=text,
        content_type=sent.content_type,
        headers=[*more.items(), *sent.headers.items()],
    )
    builder.headers["Host"] = sent.headers.get("Host", "localhost")
    environ = builder.get_environ()
    environ["REMOTE_ADDR"] = "127.0.0.1"
    return client.open(environ)


def comparable(answer: TestResponse) -> tuple[int, dict[str, str], str]:
    headers = {name: masked(value) for name, value in sorted(answer.headers.items())}
    # Where ids and times are masked, lengths may differ too.
    headers["Content-Length"] = "there" if "Content-Length" in headers else "missing"
    headers["Vary"] = ", ".join(sorted(headers.get("Vary", "").split(", ")))
    return answer.status_code, headers, masked(answer.get_data(as_text=True))


def masked(text: str) -> str:
    for changing, name in _CHANGING:
        text = changing.sub(name, text)
    return text


def test_both_answer_alike_without_keys(ask: Ask) -> None:
    for sent in CORPUS:
        edge, flask = ask(sent, {})
        assert edge == flask, sent


class TestWithKeys:
    """An API that asks for keys, and requests with the keys of every role, with wrong ones, and with none."""

    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings(
            max_body_bytes=MAX_BYTES, deployment_cache_s=0, event_stream_s=0.05, auth=AuthMode.ON, api_key_cache_s=0
        )

    @pytest.fixture
    def jobs(self, app: Flask, adding_file: None, worker: StandInWorker) -> dict[str, str]:
        return {"JOB": "job", "QUEUED": "queued"}

    @pytest.fixture
    def adding_file(self, data_dir: Any, serving_file: Any) -> None:
        (data_dir / "registry.db").write_bytes(serving_file.read_bytes())

    def headers(self) -> dict[str, dict[str, str]]:
        def key(name: str, role: Role, **more: Any) -> dict[str, str]:
            with default_database().session() as session:
                _, text = api_keys.create(session, name, role, **more)
                session.commit()
            return {"Authorization": f"Bearer {text}"}

        return {
            "client": key("shop", Role.CLIENT),
            "operator": key("ops", Role.OPERATOR),
            "admin": key("root", Role.ADMIN),
            "elsewhere": key("desk", Role.CLIENT, endpoint_names=["another"]),
            "none": {},
            "wrong": {"Authorization": "Bearer qc_wrong"},
            "basic": {"Authorization": "Basic eDp5"},
        }

    def test_both_answer_alike_to_each_role(self, ask: Ask) -> None:
        requests = [
            post("/predict/adding"),
            post("/predict/nothing"),
            post("/predict/adding", b"{"),
            post("/predict/adding/bulk", [GOOD]),
            post("/predict", {"model_name": "adder", "input": [1, 2]}),
            post("/jobs/lookup", {"job_ids": ["x"]}),
            Sent("GET", "/jobs/x"),
            Sent("GET", "/jobs/x/events"),
            Sent("GET", "/jobs/x/events?ticket=wrong"),
            post("/v2/models/adding/infer", b"{"),
            post("/predict/adding", GOOD, Idempotency_Key="one"),
        ]
        for role, headers in self.headers().items():
            for sent in requests:
                edge, flask = ask(sent, headers)
                assert edge == flask, (role, sent)


class TestWithKeysThatAreNotAskedFor(TestWithKeys):
    """An API that asks for no keys takes those that are shown."""

    @pytest.fixture
    def settings(self) -> ApiSettings:
        return ApiSettings(max_body_bytes=MAX_BYTES, deployment_cache_s=0, event_stream_s=0.05, api_key_cache_s=0)

    def test_a_wrong_key_is_refused_and_none_is_not(self, ask: Ask) -> None:
        headers = self.headers()
        edge, _ = ask(post("/predict/adding"), headers["wrong"])
        assert edge[0] == 401
        assert ask(post("/predict/adding"), headers["elsewhere"])[0][0] == 403
        assert ask(post("/predict/adding"), headers["none"])[0][0] == 202


def test_the_hot_operations_are_those_of_the_readme_and_no_others(settings: ApiSettings) -> None:
    app = create_app(settings)
    hot = {rule.rule for rule in app.url_map.iter_rules() if plan_of(app.view_functions[rule.endpoint])}
    assert hot == {
        "/predict/<endpoint_name>",
        "/predict/<endpoint_name>/bulk",
        "/predict",
        "/pipelines",
        "/jobs/<job_id>",
        "/jobs/lookup",
        "/jobs/<job_id>/events",
        "/v2/models/<name>/infer",
        "/v2/models/<name>/versions/<version>/infer",
    }
    answers = Handler(app)
    for method, path in (("GET", "/predict/x"), ("DELETE", "/jobs/x"), ("GET", "/jobs"), ("GET", "/health/live")):
        assert answers({"REQUEST_METHOD": method, "PATH_INFO": path}, None) is None  # type: ignore[arg-type]
