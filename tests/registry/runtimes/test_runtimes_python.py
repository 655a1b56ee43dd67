from __future__ import annotations

import math
import subprocess
import sys
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from registry import runtimes
from registry.errors import ModelLoadFailed, OutputInvalid, RuntimeOptionsInvalid
from registry.signatures.signature import Signature
from tests.registry import toys
from tests.registry.conftest import RoundTrip
from tests.support.service.environment import REPOSITORY, clean_environment

SCALAR = Signature.from_example(1.0)
#: A script's own function and class are known nowhere else.
SCRIPT = """
import sys
from registry.runtimes.python import RUNTIME

FACTOR = 3

def scale(row):
    return FACTOR * row

class Shift:
    def predict(self, row):
        return scale(row) + 1

sys.stdout.buffer.write(RUNTIME.dump(Shift()))
"""


@pytest.mark.parametrize(
    "model",
    [toys.double, lambda row: 2 * row, partial(math.prod, start=2), np.vectorize(toys.double, otypes=[float])],
    ids=["function", "lambda", "partial", "callable"],
)
def test_a_callable_is_asked_for_each_row(round_trip: RoundTrip, model: Any) -> None:
    example: Any = [2.5] if isinstance(model, partial) else 2.5
    rows = [[1.0], [2.0], [3.0]] if isinstance(model, partial) else [1.0, 2.0, 3.0]
    assert round_trip(model, input_example=example).predict(rows) == [2.0, 4.0, 6.0]


def test_an_object_is_asked_by_its_predict(round_trip: RoundTrip) -> None:
    assert round_trip(toys.Adder(), input_example=[1.0, 2.0]).predict([[1, 2], [3, 4]]) == [3, 7]


def test_another_method_can_be_named(round_trip: RoundTrip) -> None:
    model = round_trip(toys.Adder(), input_example=[1.0, 2.0], runtime_options={"method": "explain"})
    assert model.predict([[1, 2], [3, 4]]) == ["1 + 2", "3 + 4"]


def test_a_vectorized_model_is_asked_once_for_all_rows(round_trip: RoundTrip) -> None:
    model = round_trip(toys.double_all, input_example=2.5, runtime_options={"vectorized": True})
    assert model.predict([1.0, 2.0]) == [2.0, 4.0]
    with pytest.raises(OutputInvalid, match="list of 2 outputs for 2 rows; it returned the integer 1"):
        round_trip(lambda rows: [1] if len(rows) == 1 else 1, input_example=2.5, runtime_options={"vectorized": True}
                   ).predict([1.0, 2.0])  # fmt: skip


def test_a_vectorized_model_may_answer_an_array(round_trip: RoundTrip) -> None:
    model = round_trip(
        lambda rows: np.asarray(rows) * 2, input_example=[1.0, 2.0], runtime_options={"vectorized": True}
    )
    assert model.predict([[1.0, 2.0], [3.0, 4.0]]) == [[2.0, 4.0], [6.0, 8.0]]


def test_named_fields_come_as_an_object(round_trip: RoundTrip) -> None:
    model = round_trip(lambda row: f"{row['name']} is {row['age']}", input_example={"name": "a", "age": 1})
    assert model.predict([{"name": "Ada", "age": 36}]) == ["Ada is 36"]


def test_what_one_row_raises_concerns_the_batch(round_trip: RoundTrip) -> None:
    model = round_trip(lambda row: 1 / row, input_example=2.5)
    with pytest.raises(ZeroDivisionError):
        model.predict([1.0, 0.0])


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"method": "__import__('os')"}, "method"),
        ({"method": ""}, "method"),
        ({"method": "a" * 101}, "method"),
        ({"vectorized": "perhaps"}, "vectorized"),
        ({"speed": 1}, "speed"),
    ],
)
def test_options_are_checked(options: dict[str, Any], place: str) -> None:
    with pytest.raises(RuntimeOptionsInvalid, match=rf"runtime_options\.{place}"):
        runtimes.get("python").check_options(options)


@pytest.mark.parametrize("method", ["missing", "__doc__"])
def test_a_method_that_is_not_there_is_named(round_trip: RoundTrip, method: str) -> None:
    with pytest.raises(ModelLoadFailed, match=rf"a Adder, has no method {method}\(\)"):
        round_trip(toys.Adder(), input_example=[1.0], runtime_options={"method": method})


def test_functions_and_classes_of_a_script_are_taken_along(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT]
    artifact = subprocess.run(command, cwd=REPOSITORY, env=clean_environment(), capture_output=True, check=True)
    (tmp_path / "model").write_bytes(artifact.stdout)
    assert runtimes.load("python", tmp_path / "model", {}, SCALAR).predict([1.0]) == [4.0]


@pytest.mark.parametrize("compress", [0, 3])
@pytest.mark.parametrize("model", [toys.double, partial(np.dot, np.array([1.0, 1.0]))], ids=["plain", "with an array"])
def test_a_file_of_joblib_is_loaded_as_well(tmp_path: Path, model: Any, compress: int) -> None:
    target = BytesIO()
    joblib.dump(model, target, compress=compress)
    (tmp_path / "model").write_bytes(target.getvalue())
    row: Any = 4.0 if model is toys.double else [3.0, 5.0]
    assert runtimes.load("python", tmp_path / "model", {}, SCALAR).predict([row]) == [8.0]


def test_a_plain_function_is_loaded_without_joblib_and_numpy(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(runtimes.get("python").dump(lambda row: 2 * row))
    program = """
import sys
from pathlib import Path
from registry import runtimes
from registry.signatures.signature import Signature
loaded = runtimes.load("python", Path(sys.argv[1]), {}, Signature.from_example(1.0))
print(loaded.predict([4.0]), {"numpy", "joblib"} & set(sys.modules))
"""
    command = [sys.executable, "-c", program, str(tmp_path / "model")]
    done = subprocess.run(command, cwd=REPOSITORY, env=clean_environment(), capture_output=True, check=True, text=True)
    assert done.stdout == "[8.0] set()\n"


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x05."])
def test_what_is_no_pickle_fails_to_load(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(ModelLoadFailed, match="The model can't be loaded: "):
        runtimes.load("python", tmp_path / "model", {}, SCALAR)


def test_a_module_that_is_not_installed_here_is_named(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"cmy_own_library\nModel\n)R.")
    reason = r"ModuleNotFoundError: No module named 'my_own_library'\. Install what is missing where workers run"
    with pytest.raises(ModelLoadFailed, match=reason):
        runtimes.load("python", tmp_path / "model", {}, SCALAR)


def test_a_class_of_a_script_whose_code_is_not_in_the_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"c__main__\nRatios\n)R.")
    with pytest.raises(ModelLoadFailed, match=r"module '__main__' .*'Ratios'\. .*Register the model from that program"):
        runtimes.load("python", tmp_path / "model", {}, SCALAR)
