"""Every way of asking gives what the model itself says, bit for bit, for all rows of the real data sets."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from registry import examples
from tests.support.calls import Document, expect, predictions
from tests.support.service.stack import Stack

PROGRAMS = Path(__file__).parent / "programs"
#: Every so many rows one that is asked alone.
SAMPLE_STEP = 40
#: Of a data set with more rows than this, only so many or somewhat more become jobs of their own.
MANY = 500
ROW_COUNTS = {"binary_classifier": 569, "quadratic_predictor": 150, "digits_classifier": 1797}


@dataclass(frozen=True)
class Real:
    """A deployed example, and what its model says itself."""

    endpoint_name: str
    model_name: str
    rows: list[Any]
    answers: list[Any]

    @property
    def many(self) -> list[Any]:
        return self.rows[:: self._step]

    @property
    def many_answers(self) -> list[Any]:
        return self.answers[:: self._step]

    @property
    def _step(self) -> int:
        return len(self.rows) // MANY or 1

    @property
    def sample(self) -> list[Any]:
        return self.rows[::SAMPLE_STEP]

    @property
    def sample_answers(self) -> list[Any]:
        return self.answers[::SAMPLE_STEP]


def own_answers(example: examples.Example) -> list[Any]:
    """What the model says without any of our code, as JSON."""
    if example.name == "quadratic_predictor":
        return [example.model(x) for x in example.rows]
    if example.name == "digits_classifier":
        answers: list[Any] = example.model.predict(example.rows).tolist()
        return answers
    labels = example.model.classes_.tolist()
    return [
        {"label": labels[row.index(max(row))], "probabilities": dict(zip(labels, row, strict=True))}
        for row in example.model.predict_proba(example.rows).tolist()
    ]


@pytest.fixture(scope="module", params=examples.NAMES)
def real(request: pytest.FixtureRequest, registered: Stack) -> Real:
    example = examples.build(request.param)
    view = registered.deploy(example.name)
    assert len(example.rows) == ROW_COUNTS[example.name]
    return Real(view["endpoint_name"], example.name, example.rows, own_answers(example))


def exactly(values: Iterable[Any]) -> str:
    """Text that is equal only if all values are: 1 is not 1.0 here, and -0.0 is not 0.0."""
    return json.dumps(list(values), sort_keys=True)


def test_http_with_a_job_for_each_row_polled_afterwards(service: Stack, real: Real) -> None:
    with ThreadPoolExecutor(4) as clients:
        job_ids = list(clients.map(lambda row: service.submit(real.endpoint_name, row), real.many))
        outcomes = [job["outcome"] for job in clients.map(service.job, job_ids)]
    assert exactly(predictions(outcomes)) == exactly(real.many_answers)
    assert max(outcome["batch_size"] for outcome in outcomes) > 1, "nothing was predicted together"


def test_http_with_rows_alone_waited_for(service: Stack, real: Real) -> None:
    outcomes = [service.predict(real.endpoint_name, row) for row in real.sample]
    assert exactly(predictions(outcomes)) == exactly(real.sample_answers)
    assert {outcome["batch_size"] for outcome in outcomes} == {1}


@pytest.mark.parametrize("named", [{}, {"version": "1"}])
def test_the_universal_url_with_many_inputs(service: Stack, real: Real, named: Document) -> None:
    body = {"model_name": real.model_name, "inputs": real.rows, **named}
    if named:
        answer = expect(202, service.api.post("/predict", json=body))
        outcome = service.job(answer["job_id"])["outcome"]
    else:
        outcome = expect(200, service.api.post("/predict", json=body, headers={"Prefer": "wait=60"}))
    assert exactly(outcome["predictions"]) == exactly(real.answers)
    assert outcome["endpoint_name"] == real.endpoint_name


def test_predict_delay(service: Stack, real: Real) -> None:
    check_program(service, real, "send_delay.py")


def test_a_celery_app_without_our_code(service: Stack, real: Real) -> None:
    said = check_program(service, real, "send_bare.py")
    assert said["ours"] == []


def check_program(service: Stack, real: Real, program: str) -> Document:
    """Have a program send the rows one after the other, all at once and as one job; its jobs are known over HTTP."""
    asked = {"endpoint": real.endpoint_name, "alone": real.sample, "together": real.many}
    said: Document = json.loads(service.run(str(PROGRAMS / program), stdin=json.dumps(asked)).stdout)
    assert exactly(predictions(said["alone"])) == exactly(real.sample_answers)
    assert exactly(predictions(said["together"])) == exactly(real.many_answers)
    assert exactly(said["inputs"]["predictions"]) == exactly(real.many_answers)
    for job_id, outcome in zip(said["job_ids"][::SAMPLE_STEP], said["together"][::SAMPLE_STEP], strict=True):
        job = service.job(job_id, wait_s=0)
        assert (job["status"], job["outcome"]) == ("succeeded", outcome)
    return said
