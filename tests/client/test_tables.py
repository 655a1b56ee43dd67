"""`map` over a data frame, and data frames as examples, with both clients."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from api.client import Client, ColumnsWrong, InputInvalid, SettingsWrong
from api.client.tables import examples
from api.client.tables.columns import Columns
from api.client.tables.predictions import cells_of
from registry.errors import SignatureInvalid
from registry.signatures import data_frames
from tests.cli.fake_service import FakeService

NAMED = {
    "kind": "named",
    "fields": {
        "age": {"dtype": "int", "shape": [], "nullable": True},
        "city": {"dtype": "str", "shape": []},
        "size": {"dtype": "float", "shape": [], "required": False},
        "seen": {"dtype": "str", "shape": []},
    },
}


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "size": [1.5, np.nan],
            "city": pd.Categorical(["Ulm", "Bonn"]),
            "age": [3.0, np.nan],  # integers beside missing values are floats in pandas
            "seen": pd.to_datetime(["2026-11-29T00:00", "2026-11-30T10:00"]),
            "other": [np.int64(1), np.int64(2)],
        },
        index=pd.Index(["a", "b"], name="id"),
    )


def laid_out(service: FakeService, signature: Any, *predictions: Any, status: str = "succeeded") -> None:
    service.on("GET", "/predict/toy", {"signature": signature})
    service.on("POST", "/predict/toy/bulk", {"job_ids": ["1"]}, status=202)
    job = {"job_id": "1", "status": status, "outcome": {"predictions": list(predictions)}}
    service.on("POST", "/jobs/lookup", {"jobs": [job], "unknown_job_ids": []})


def test_a_data_frame_becomes_one_with_the_same_index(service: FakeService, client: Any) -> None:
    laid_out(service, NAMED, {"label": "x", "scores": {"x": 0.5}}, {"label": "y", "scores": {"x": 0.25}})
    found = client.map("toy", frame())
    expected = pd.DataFrame({"label": ["x", "y"], "scores.x": [0.5, 0.25]}, index=frame().index)
    pd.testing.assert_frame_equal(found, expected)
    [sent] = [json.loads(each.body) for each in service.received if each.path == "/predict/toy/bulk"]
    assert sent["inputs"] == [
        {"age": 3, "city": "Ulm", "size": 1.5, "seen": "2026-11-29T00:00:00"},
        {"age": None, "city": "Bonn", "seen": "2026-11-30T10:00:00"},
    ]


def test_the_columns_of_an_input_without_names_are_taken_in_their_order(service: FakeService, client: Any) -> None:
    laid_out(service, {"kind": "vector", "dtype": "float", "shape": [2]}, 1.0, 2.0)
    found = client.map("toy", pd.DataFrame([[1, 2], [3, 4]], columns=["b", "a"]))
    assert found["prediction"].tolist() == [1.0, 2.0]
    [sent] = [json.loads(each.body) for each in service.received if each.path == "/predict/toy/bulk"]
    assert sent["inputs"] == [[1, 2], [3, 4]]


def test_errors_are_raised_or_stand_in_a_column(service: FakeService, client: Any) -> None:
    wrong = frame().assign(age=[1.5, 2.0])
    laid_out(service, NAMED, 7)
    job = {"job_id": "1", "status": "succeeded", "outcome": {"prediction": 7}}
    service._answers["POST", "/jobs/lookup"] = []
    service.on("POST", "/jobs/lookup", {"jobs": [job], "unknown_job_ids": []})
    found = client.map("toy", wrong, on_error="return")
    assert found["error"].tolist()[0] == "age must be an integer; it is 1.5."
    assert found["prediction"].tolist()[1] == 7
    with pytest.raises(InputInvalid, match="age must be an integer"):
        client.map("toy", wrong)


def test_missing_columns_are_named_and_an_unordered_map_is_refused(service: FakeService, client: Any) -> None:
    laid_out(service, NAMED)
    with pytest.raises(ColumnsWrong, match="no columns 'city', 'seen'"):
        client.map("toy", frame()[["age", "other"]])
    with pytest.raises(SettingsWrong, match="map_unordered"):
        client.map_unordered("toy", frame())


def test_an_empty_data_frame_gives_an_empty_one(service: FakeService, client: Any) -> None:
    laid_out(service, NAMED)
    assert len(client.map("toy", frame().iloc[:0])) == 0


def test_a_data_frame_as_the_example_says_what_it_says_beside_the_registry() -> None:
    table = pd.DataFrame({
        "zip": [80331, 10115],
        "rank": np.array([1, 2], dtype="int8"),
        "size": [52.5, np.nan],
        "share": np.array([0.5, 1.5], dtype="float32"),
        "paid": [True, False],
        "name": ["Ada", None],
        "colour": pd.Categorical(["blue", None], categories=["red", "blue"]),
        "grade": pd.Categorical([3, 1], categories=[3, 1]),
        "age": pd.array([42, None], dtype="Int64"),
    })  # fmt: skip
    found = examples.described({"input_example": table})
    assert (found["signature"], found["input_example"]) == data_frames.described(table)
    assert examples.described({"input_example": table, "signature": 1})["signature"] == 1
    assert examples.described({"input_example": table.iloc[0]})["input_example"] == data_frames.row_of(table.iloc[0])
    for wrong in (table.iloc[:0], table.assign(when=pd.Timestamp("2026-11-29")), table.assign(size=[1, "x"])):
        with pytest.raises(SignatureInvalid):
            data_frames.described(wrong)
        with pytest.raises(SettingsWrong):
            examples.described({"input_example": wrong})


def test_tensors_are_filled_row_by_row_and_lists_stand_in_cells() -> None:
    columns = Columns({"kind": "tensor", "dtype": "float", "shape": [2, 2]}, list("abcd"), texts=True)
    assert columns.input_of(["1", "2", "3", "4.5"]) == [[1, 2], [3, 4.5]]
    listed = Columns({"kind": "named", "fields": {"a": {"dtype": "float", "shape": [None]}}}, ["b", " a "], texts=True)
    assert listed.input_of(["x", "[1, 2]"]) == {"a": [1, 2]}
    assert isinstance(listed.input_of(["x", "1"]), InputInvalid)
    assert listed.ignored == ["b"]
    with pytest.raises(ColumnsWrong, match="any length"):
        Columns({"kind": "tensor", "dtype": "float", "shape": [None, 2]}, list("ab"), texts=True)


def test_predictions_are_flattened_by_their_names() -> None:
    assert cells_of({"a": {"b": {"c": 1}, "d": [1]}, "e": {}}) == {"a.b.c": 1, "a.d": [1], "e": {}}
    assert cells_of([1, 2]) == {"prediction": [1, 2]}


def test_the_client_imports_no_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pandas")
    with Client("http://127.0.0.1:1") as client:
        assert next(client.map("toy", []), None) is None
    assert "pandas" not in sys.modules
