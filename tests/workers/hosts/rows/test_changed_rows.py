"""A model may change its rows: no retry, other row or other job sees the change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.workers.hosts import toys
from tests.workers.hosts.conftest import Hosts
from workers.hosts.host_side import predictor
from workers.hosts.host_side.predictor import Predictor

GOOD: dict[str, Any] = {"px": 255.0, "kind": "good"}
BAD: dict[str, Any] = {"px": 255.0, "kind": "?"}


@pytest.mark.parametrize("vectorized", [False, True])
@pytest.mark.parametrize("max_batch_size", [64, 3, 1])
def test_rows_beside_one_that_fails_are_answered_as_if_alone(
    hosts: Hosts, vectorized: bool, max_batch_size: int
) -> None:
    host = hosts.start(toys.scaled_all if vectorized else toys.scaled, GOOD, vectorized=vectorized)
    rows = [GOOD, GOOD, BAD, GOOD, {"px": 510.0, "kind": "good"}, BAD]
    answer = hosts.predict(host, rows, max_batch_size)
    assert answer.outputs == [1.0, 1.0, None, 1.0, 2.0, None]
    assert {index: error["message"] for index, error in answer.errors.items()} == {2: "unknown kind", 5: "unknown kind"}


@pytest.mark.parametrize("vectorized", [False, True])
def test_a_model_that_takes_fields_out_of_its_row_is_warmed_up_and_predicts(hosts: Hosts, vectorized: bool) -> None:
    host = hosts.start(toys.pop_px_all if vectorized else toys.pop_px, GOOD, vectorized=vectorized)
    assert host.outputs is not None  # the example was predicted
    assert hosts.predict(host, [GOOD, GOOD]).outputs == [255.0, 255.0]


@pytest.mark.parametrize("model", [toys.use_up, toys.use_up_and_grow])
def test_a_model_may_use_up_the_list_of_rows(hosts: Hosts, model: Any) -> None:
    host = hosts.start(model, 1.0, vectorized=True)
    assert hosts.predict(host, [1, 2, 3, 4, 5], max_batch_size=2).outputs == [2, 4, 6, 8, 10]


def test_a_model_that_empties_the_list_and_returns_nothing_shifts_no_answer(hosts: Hosts) -> None:
    answer = hosts.predict(hosts.start(toys.empty, vectorized=True), [1, 2, 3], max_batch_size=2)
    assert answer.outputs == [None, None, None]
    assert {error["type"] for error in answer.errors.values()} == {"OutputInvalid"}


def test_outputs_are_what_they_were_when_the_model_returned_them(hosts: Hosts) -> None:
    host = hosts.start(toys.Accumulating())
    assert hosts.predict(host, [1, 2, 3]).outputs == [[1], [1, 2], [1, 2, 3]]


def test_a_request_is_read_again_once_and_only_if_a_batch_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loaded:
        def predict(self, rows: list[Any]) -> list[Any]:
            return [toys.scaled(row) for row in rows]

    reads: list[bytes] = []

    def loads(text: bytes) -> Any:
        reads.append(text)
        return json.loads(text)

    monkeypatch.setattr(predictor, "parse", loads)
    loaded = Predictor(Loaded())

    def reads_for(rows: list[Any]) -> int:
        reads.clear()
        loaded.answer(json_encoded({"number": 1, "rows": rows, "max_batch_size": 2}))
        return len(reads)

    assert reads_for([GOOD] * 6) == 1
    assert reads_for([GOOD, BAD] * 3) == 2


def json_encoded(document: Any) -> bytes:
    return json.dumps(document).encode()
