"""An error or invalid output fails its own row, with a short and safe reason; other rows are predicted."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from registry.runtimes.failures.tracebacks import LARGEST_BYTES
from tests.workers.hosts import toys
from tests.workers.hosts.acts.sizes import MEBIBYTE
from tests.workers.hosts.conftest import Hosts
from workers.hosts.host_side import predictor


@pytest.mark.parametrize(
    ("act", "failure", "message"),
    [
        ("refuse", "ValueError", "not today"),
        ("call_sys_exit", "SystemExit", "3"),
        ("raise_keyboard_interrupt", "KeyboardInterrupt", ""),
        ("raise_generator_exit", "GeneratorExit", ""),
        ("raise_base_exception", "OwnBaseException", "neither Exception nor known"),
        ("raise_memory_error", "MemoryError", ""),
        ("recurse", "RecursionError", "maximum recursion depth exceeded"),
        ("raise_unprintable", "Unprintable", "(its text can't be shown: RuntimeError)"),
        ("raise_what_exits_when_printed", "ExitsWhenPrinted", "(its text can't be shown: SystemExit)"),
        ("raise_half_a_surrogate_pair", "ValueError", "half: ?."),
    ],
)
def test_what_a_model_raises_fails_its_row_alone(hosts: Hosts, act: str, failure: str, message: str) -> None:
    host = hosts.start(toys.obey)
    answer = hosts.predict(host, [1, act, 3])
    assert answer.outputs == [2, None, 6]
    assert answer.errors == {1: {"type": failure, "message": message}}
    traceback = answer.tracebacks[1]
    assert 'File "<dynamic-code>", line ' in traceback
    assert traceback.endswith(f"{failure}: {message}")
    assert len(traceback.encode()) <= LARGEST_BYTES
    assert os.sep not in traceback
    assert "predictor" not in traceback
    assert hosts.predict(host, [4]).outputs == [8]


def test_each_failed_row_of_a_batch_has_a_traceback_of_its_own(hosts: Hosts) -> None:
    model = hosts.start(toys.fail_as_a_whole, vectorized=True)
    found = hosts.predict(model, [1, "refuse", 3, "raise_memory_error"]).tracebacks
    assert found.keys() == {1, 3}
    assert found[1].endswith(", in refuse\nValueError: not today")
    assert found[3].endswith("MemoryError: ")
    assert "not today" not in found[3]
    assert "one at a time" not in found[1], "that was the call with all rows"


def test_thousands_of_failed_rows_have_not_thousands_of_tracebacks(hosts: Hosts) -> None:
    answer = hosts.predict(hosts.start(toys.obey), ["refuse"] * 600, max_batch_size=600)
    assert len(answer.errors) == 600
    assert [row for row, traceback in answer.tracebacks.items() if traceback] == list(range(256))


def test_out_of_memory_in_numpy_is_a_failure_like_others(hosts: Hosts) -> None:
    answer = hosts.predict(hosts.start(toys.obey), [1, "ask_numpy_for_too_much", 3])
    assert answer.outputs == [2, None, 6]
    assert answer.errors[1]["type"] == "MemoryError"
    assert "Unable to allocate" in answer.errors[1]["message"]


def test_megabytes_of_message_are_cut(hosts: Hosts) -> None:
    answer = hosts.predict(hosts.start(toys.obey), [1, "raise_megabytes", "raise_with_a_long_name"])
    assert answer.outputs == [2, None, None]
    assert answer.errors[1]["message"] == "x" * 1999 + "…"
    assert answer.errors[2]["type"] == "E" * 199 + "…"


def test_every_guilty_row_fails_and_no_other(hosts: Hosts) -> None:
    rows: list[Any] = [index if index % 3 else "refuse" for index in range(200)]
    answer = hosts.predict(hosts.start(toys.obey), rows, max_batch_size=16)
    assert set(answer.errors) == set(range(0, 200, 3))
    assert answer.outputs == [2 * index if index % 3 else None for index in range(200)]


@pytest.mark.parametrize("model", [toys.fail_as_a_whole, toys.obey_all])
def test_batch_that_fails_as_a_whole_is_tried_row_by_row(hosts: Hosts, model: Any) -> None:
    answer = hosts.predict(hosts.start(model, vectorized=True), [1, "refuse", 3, "raise_memory_error", 5])
    assert answer.outputs == [2, None, 6, None, 10]
    assert {index: error["type"] for index, error in answer.errors.items()} == {1: "ValueError", 3: "MemoryError"}


class Called:
    """A model in this process that doubles numbers, and records the rows of its calls."""

    def __init__(self, most_rows: int) -> None:
        self.most_rows = most_rows
        self.calls: list[int] = []

    def predict(self, rows: list[Any]) -> list[Any]:
        self.calls.append(len(rows))
        if len(rows) > self.most_rows:
            raise MemoryError
        return [2 * row.pop() for row in rows]


def answered(model: Called, rows: list[Any], max_batch_size: int = 4_096) -> dict[str, Any]:
    request = json.dumps({"number": 1, "rows": rows, "max_batch_size": max_batch_size}).encode()
    answer: dict[str, Any] = json.loads(predictor.Predictor(model).answer(request)[4:])
    return answer


def test_a_call_that_is_too_large_for_the_model_is_repeated_with_64_rows_at_a_time() -> None:
    model = Called(most_rows=500)
    answer = answered(model, [[number] for number in range(1_000)])
    assert answer["outputs"] == [2 * number for number in range(1_000)]
    assert answer["errors"] == {}
    assert model.calls == [1_000] + [64] * 15 + [40]


def test_only_the_64_rows_around_a_bad_one_are_predicted_one_by_one() -> None:
    model = Called(most_rows=4_096)
    rows: list[Any] = [[number] for number in range(200)]
    rows[70] = []
    answer = answered(model, rows)
    assert answer["outputs"] == [None if number == 70 else 2 * number for number in range(200)]
    assert list(answer["errors"]) == ["70"]
    assert model.calls == [200, 64, 64, *[1] * 64, 64, 8]


def test_calls_are_repeated_one_by_one_at_once_if_they_are_small() -> None:
    model = Called(most_rows=1)
    assert answered(model, [[1]] * 66, max_batch_size=64)["outputs"] == [2] * 66
    assert model.calls == [64, *[1] * 64, 2, 1, 1]


@pytest.mark.slow
def test_rows_are_tried_one_by_one_without_what_the_failed_batch_held(hosts: Hosts) -> None:
    host = hosts.start(toys.need_memory_for_each, vectorized=True)
    before = host.memory_bytes
    answer = hosts.predict(host, [1] * 4)
    assert answer.errors == {}
    assert max(answer.outputs) < before + 128 * MEBIBYTE  # four rows together need 256


@pytest.mark.parametrize("odd_one", ["fewer", "more"])
def test_model_that_returns_too_few_or_too_many_outputs(hosts: Hosts, odd_one: str) -> None:
    answer = hosts.predict(hosts.start(toys.too_few, vectorized=True), [1, odd_one, 3])
    assert answer.outputs == [1, None, 3]
    assert answer.errors[1]["type"] == "OutputInvalid"
    assert "must return a list of 1 outputs for 1 rows" in answer.errors[1]["message"]


@pytest.mark.parametrize("row", ["fewer", "more"])
def test_wrong_number_of_outputs_of_a_runtime_that_does_not_look(hosts: Hosts, row: str) -> None:
    answer = hosts.predict(hosts.start(toys.Raw(toys.too_few), vectorized=True), [1, row, 3])
    assert answer.outputs == [1, None, 3]
    assert "must return a list of 1 outputs for 1 rows" in answer.errors[1]["message"]


@pytest.mark.parametrize(
    ("name", "output"),
    [("numpy scalar", 1.5), ("numpy integer", 3), ("numpy array", [0, 1, 2]), ("emoji", "\N{GRINNING FACE}")],
)
def test_numpy_values_are_converted_even_if_the_runtime_did_not(hosts: Hosts, name: str, output: Any) -> None:
    answer = hosts.predict(hosts.start(toys.Raw(toys.obey)), [1, ["odd", name], 3])
    assert answer.outputs == [2, output, 6]
    assert answer.errors == {}


@pytest.mark.parametrize(
    ("name", "failure", "part"),
    [
        ("nan", "OutputInvalid", "prediction is NaN"),
        ("infinity", "OutputInvalid", "prediction is -Infinity"),
        ("numpy nan", "OutputInvalid", "prediction[1] is NaN"),
        ("date", "OutputInvalid", "prediction is a date"),
        ("bytes", "OutputInvalid", "prediction is a bytes"),
        ("set", "OutputInvalid", "prediction is a set"),
        ("complex", "OutputInvalid", "prediction is a complex"),
        ("generator", "OutputInvalid", "prediction is a list_iterator"),
        ("no text", "OutputInvalid", "prediction is a NoText"),
        ("half a surrogate pair", "OutputInvalid", "half of a surrogate pair"),
        ("half a surrogate pair as a name", "OutputInvalid", "half of a surrogate pair"),
        ("huge integer", "OutputInvalid", "an integer of about 6001 digits"),
        ("long text", "OutputInvalid", "at most 16777216 are allowed"),
    ],
)
@pytest.mark.parametrize("raw", [True, False])
def test_output_that_json_can_not_say_fails_its_row_alone(
    hosts: Hosts, name: str, failure: str, part: str, raw: bool
) -> None:
    answer = hosts.predict(hosts.start(toys.Raw(toys.obey) if raw else toys.obey), [1, ["odd", name], 3])
    assert answer.outputs == [2, None, 6]
    assert answer.errors[1]["type"] == failure
    assert part in answer.errors[1]["message"]


@pytest.mark.parametrize("act", [["odd", "no items"], ["odd", "no length"], ["deep"], ["endless"]])
@pytest.mark.parametrize("raw", [True, False])
def test_output_that_can_not_be_walked_has_a_defined_answer(hosts: Hosts, act: list[str], raw: bool) -> None:
    host = hosts.start(toys.Raw(toys.obey) if raw else toys.obey)
    answer = hosts.predict(host, [1, act, 3])
    assert [answer.outputs[0], answer.outputs[2]] == [2, 6]
    assert set(answer.errors) <= {1}
    assert hosts.predict(host, [4]).outputs == [8]


@pytest.mark.parametrize("outputs", ["nan", "generator", "numpy array", "date", "no items", "long text"])
def test_outputs_as_a_whole_that_are_no_list(hosts: Hosts, outputs: str) -> None:
    host = hosts.start(toys.Raw(toys.Returns(outputs)), vectorized=True)
    answer = hosts.predict(host, [1, 2])
    assert answer.outputs == [None, None]
    assert set(answer.errors) == {0, 1}


def test_numpy_array_of_the_right_length_is_a_list_of_outputs(hosts: Hosts) -> None:
    answer = hosts.predict(hosts.start(toys.Raw(toys.Returns("numpy array")), vectorized=True), [1, 2, 3])
    assert answer.outputs == [0, 1, 2]
    assert answer.errors == {}


def test_many_megabytes_of_outputs_arrive(hosts: Hosts) -> None:
    answer = hosts.predict(hosts.start(toys.obey), [["long_text", 1]] * 20 + ["refuse", ["odd", "emoji"]])
    assert [len(output or "") for output in answer.outputs] == [MEBIBYTE] * 20 + [0, 1]
    assert {index: error["message"] for index, error in answer.errors.items()} == {20: "not today"}


def test_batch_of_outputs_that_is_too_large_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "LARGEST_OUTPUT_BYTES", 10)
    monkeypatch.setattr(predictor, "LARGEST_OUTPUTS_BYTES", 30)
    errors = {0: {"type": "ValueError", "message": "was there before"}}
    frame = predictor._frame([None, "123456", "1234567", "123456789", "12345678", 1], errors, number=7, predict_ms=1.5)
    answer = json.loads(frame[4:])
    assert answer["outputs"] == [None, "123456", "1234567", None, None, 1]
    assert (answer["number"], answer["predict_ms"]) == (7, 1.5)
    assert list(answer["errors"]) == ["0", "3", "4"]
    assert answer["errors"]["0"]["message"] == "was there before"
    assert answer["errors"]["3"]["message"] == "prediction has 11 bytes of JSON; at most 10 are allowed."
    assert "set a smaller max_batch_size" in answer["errors"]["4"]["message"]
