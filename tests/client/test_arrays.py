"""numpy in and out, for callers who have it."""

from __future__ import annotations

import enum
import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from api.client import Client, arrays
from api.client.errors import InputNotJson
from tests.cli.fake_service import FakeService
from tests.support.service.environment import REPOSITORY, clean_environment


class Verdict(str, enum.Enum):  # noqa: UP042 - its text is not its value
    SPAM = "spam"


def answer(service: FakeService, **prediction: Any) -> None:
    service.on("POST", "/predict/m", {"job_id": "j1", "endpoint_name": "m", **prediction})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.array([1.5, 2]), [1.5, 2.0]),
        (np.array([[1, 2]], dtype=np.int8), [[1, 2]]),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        ({Verdict.SPAM: [Verdict.SPAM]}, {"spam": ["spam"]}),
        ({"age": np.int64(3), "pair": [np.bool_(True), np.str_("a")]}, {"age": 3, "pair": [True, "a"]}),
    ],
)
def test_arrays_and_their_numbers_are_inputs(value: Any, said: Any) -> None:
    assert json.loads(arrays.to_json({"input": value})) == {"input": said}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, None),
        ([1.5, math.nan], [1.5, None]),
        (np.array([[1.5, np.nan]], dtype=np.float32), [[1.5, None]]),
        ({"age": np.float64("nan"), "pair": (np.float32("nan"), 1)}, {"age": None, "pair": [None, 1]}),
        (
            pd.DataFrame({"age": [1.0, None], "n": pd.array([None, 2], dtype="Int64")}).to_dict("records"),
            [{"age": 1.0, "n": None}, {"age": None, "n": 2}],
        ),
        ({"day": pd.NaT, "colour": pd.Series(["red", None])[1]}, {"day": None, "colour": None}),
    ],
)
def test_nan_and_its_like_are_null(value: Any, said: Any) -> None:
    assert json.loads(arrays.to_json({"input": value})) == {"input": said}


@pytest.mark.parametrize("document", [{"metadata": {"auc": math.nan}}, {"input": 1, "expires_in_s": math.nan}])
def test_nan_is_refused_outside_of_inputs_where_null_would_mean_a_default(document: Any) -> None:
    with pytest.raises(InputNotJson):
        arrays.to_json(document)


@pytest.mark.parametrize("value", [math.inf, [-math.inf, math.nan], np.array([np.inf])])
def test_infinity_is_refused(value: Any) -> None:
    with pytest.raises(InputNotJson, match="no infinity"):
        arrays.to_json({"input": value})


@pytest.mark.parametrize("value", [{1: "a", "1": "b"}, [[{"a": {"true": 1, True: 2}}]], ({None: 1, "null": 2},)])
def test_names_that_become_one_are_refused(value: Any) -> None:
    with pytest.raises(InputNotJson, match="two names that become the same text"):
        arrays.to_json({"input": value})


def test_names_that_are_no_text_become_text() -> None:
    assert json.loads(arrays.to_json({1: "a", None: [{2.5: "b"}]})) == {"1": "a", "null": [{"2.5": "b"}]}


def test_an_array_is_answered_with_arrays_and_a_list_with_lists(service: FakeService) -> None:
    answer(service, prediction={"label": "a", "scores": [0.1, 0.9]})
    with Client(service.url) as client:
        found = client.predict("m", np.array([1, 2]))
        assert found["label"] == "a"
        assert isinstance(found["scores"], np.ndarray)
        assert client.predict("m", [1, 2])["scores"] == [0.1, 0.9]


def test_rows_of_an_array_are_several_inputs(service: FakeService) -> None:
    answer(service, predictions=[1, 2])
    with Client(service.url) as client:
        found = client.predict("m", inputs=np.array([[1, 2], [3, 4]]))
        assert (found == np.array([1, 2])).all()
        assert service.received[0].json == {"inputs": [[1, 2], [3, 4]]}
        assert client.submit("m", inputs=np.array([[1, 2]])).result.dtype == np.int64


@pytest.mark.parametrize(
    ("prediction", "is_array"),
    [
        ([1, 2.5], True), ([[1], [2]], True), (["a", "b"], True), ([True, False], True), ([], True),
        ([2**53 + 1, 0.5], False), ([2**63 + 1, -1], False), (["a\0"], False), ([2**53, 0.5], True), ([[1.5, 2]], True),
        ([[1], [2, 3]], False), ([1, "a"], False), ([1, True], False), ([1, None], False), ([{"a": 1}], False),
        (2.5, False), ("text", False), (None, False),
    ],
)  # fmt: skip
def test_only_even_lists_of_one_kind_become_arrays(prediction: Any, is_array: bool) -> None:
    found = arrays.like_input(prediction)
    assert isinstance(found, np.ndarray) == is_array
    assert (found.tolist() if is_array else found) == prediction


@pytest.mark.slow
def test_nothing_heavy_is_loaded_and_numpy_not_at_all() -> None:
    program = (
        "import sys; from api.client import AsyncClient, Client, arrays; Client().close(); AsyncClient();"
        "arrays.to_json([1]); arrays.like_input([1, 2]); print(*sorted({m.partition('.')[0] for m in sys.modules}),"
        "*[m for m in sys.modules if m.startswith('api.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, env=clean_environment(),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    loaded = set(done.stdout.split())
    heavy = {"flask", "werkzeug", "numpy", "sqlalchemy", "celery", "kombu", "redis", "workers", "registry"}
    assert not loaded & heavy
    assert {each for each in loaded if each.startswith("api.") and not each.startswith("api.client")} == set()
