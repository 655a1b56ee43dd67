"""Inputs of MLflow models: the same alone and in every batch, in the types of the folder's signature."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from registry.errors import InputInvalid, InputUnsuitable
from registry.mlflow.signatures import signature_of
from registry.runtimes.mlflow import MlflowModel, MlflowOptions, _library
from registry.signatures.signature import Signature

pd: Any = pytest.importorskip("pandas")
#: Importing MLflow takes seconds, and it warns of itself.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


class Seen:
    """Answers each row with the values that the model sees, and their types."""

    def predict(self, model_input: Any, params: Any = None) -> list[Any]:
        if isinstance(model_input, pd.DataFrame):
            kinds = [str(each) for each in model_input.dtypes]
            return [
                {str(name): [said(value), kind] for (name, value), kind in zip(row.items(), kinds, strict=True)}
                for _, row in model_input.astype(object).iterrows()
            ]
        if isinstance(model_input, dict):
            columns = [[{name: [said(each), str(tensor.dtype)]} for each in tensor] for name, tensor in
                       model_input.items()]  # fmt: skip
            return [{name: value for each in row for name, value in each.items()} for row in zip(*columns, strict=True)]
        return [[said(each), str(model_input.dtype)] for each in model_input]


def said(value: Any) -> str:
    return repr(value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value)


def model(*inputs: dict[str, Any], signature: dict[str, Any] | None = None) -> tuple[MlflowModel, Signature]:
    """A model with these inputs, as MLflow loads it, and our signature of it."""
    pyfunc: Any = _library()
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import Schema

    saved = None if not inputs else ModelSignature(inputs=Schema.from_json(json.dumps(inputs)))
    ours = Signature.parse(signature) if signature else signature_of(inputs, by_mlflow=True, warnings=[])
    flavors = {"python_function": {"loader_module": "none"}}
    loaded = pyfunc.PyFuncModel(Model(signature=saved, flavors=flavors), Seen())
    return MlflowModel(loaded, MlflowOptions(), ours), ours


def column(kind: str, name: str | None = "x", **more: Any) -> dict[str, Any]:
    return {"type": kind, **({} if name is None else {"name": name}), **more}


def tensor(dtype: str, *shape: int, **more: Any) -> dict[str, Any]:
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape)}, **more}


ALL = (
    column("integer", "i"), column("long", "l"), column("float", "f"), column("double", "d"), column("string", "s"),
    column("boolean", "b"), column("datetime", "t"), column("binary", "z"),
    column("integer", "oi", required=False), column("double", "od", required=False),
    column("string", "os", required=False), column("boolean", "ob", required=False),
    column("datetime", "ot", required=False), column("array", "v", items=column("long", None)),
)  # fmt: skip
FULL = {
    "i": -5, "l": 1_234_567_890_123_456_789, "f": 0.5, "d": 1.5, "s": "2024-01-02", "b": True, "t": "2024-03-01",
    "z": "aGk=", "oi": 7, "od": 2.5, "os": "ä", "ob": False, "ot": "2024-03-01T12:30:00.123456789", "v": [2**60, 1],
}  # fmt: skip
OTHER = {
    "i": 3, "l": 1, "f": 1, "d": 1, "s": "5", "b": False, "t": "20240301T1200", "z": "", "oi": None, "od": None,
    "os": None, "ob": None, "ot": None, "v": [0],
}  # fmt: skip
LEFT_OUT = {name: each for name, each in OTHER.items() if not name.startswith("o")}


def test_a_row_is_the_same_alone_and_in_every_batch() -> None:
    loaded, signature = model(*ALL)
    rows = [FULL, OTHER, LEFT_OUT, {**FULL, "ob": None}]
    for row in rows:
        signature.check(row)
    alone = [loaded.predict([row])[0] for row in rows]
    for order in itertools.permutations(range(4)):
        assert loaded.predict([rows[index] for index in order]) == [alone[index] for index in order]


def test_each_column_has_the_type_that_the_folder_says() -> None:
    seen = model(*ALL)[0].predict([FULL])[0]
    text = "str" if int(pd.__version__.partition(".")[0]) >= 3 else "object"
    assert seen == {
        "i": ["-5", "int32"], "l": ["1234567890123456789", "int64"], "f": ["0.5", "float32"], "d": ["1.5", "float64"],
        "s": ["'2024-01-02'", text], "b": ["True", "bool"], "z": ["b'hi'", "object"], "oi": ["7", "int32"],
        "t": ["Timestamp('2024-03-01 00:00:00')", "datetime64[ns]"], "od": ["2.5", "float64"], "os": ["'ä'", text],
        "ob": ["False", "bool"], "v": ["[1152921504606846976, 1]", "object"],
        "ot": ["Timestamp('2024-03-01 12:30:00.123456789')", "datetime64[ns]"],
    }  # fmt: skip


def test_what_is_missing_is_a_missing_value_or_no_column_where_integers_have_none() -> None:
    loaded, _ = model(*ALL)
    seen = loaded.predict([LEFT_OUT])[0]
    assert "oi" not in seen
    assert {name: seen[name][0] for name in ("od", "ot", "ob")} == {"od": "nan", "ot": "NaT", "ob": "None"}
    assert seen["os"][0] in {"nan", "None"}
    assert loaded.predict([OTHER])[0] == seen


@pytest.mark.parametrize(
    ("kind", "refused", "words"),
    [
        ("integer", 3_000_000_000, "from -2147483648 to 2147483647"),
        ("integer", 0.5, "whole numbers"),
        ("float", 1e300, "3.4028235e[+]38"),
        ("long", 2**63, "9223372036854775807"),
        ("boolean", 2, "true or false"),
        ("datetime", "01/02/2024", "ISO 8601"),
        ("datetime", "now", "ISO 8601"),
        ("datetime", "3000-01-01", "2262-04-11"),
        ("datetime", "2024-01-01T00:00:00Z", "without an offset"),
        ("binary", "no base64!", "must be base64"),
    ],
)
def test_what_a_type_can_not_hold_is_refused_also_of_versions_without_bounds(
    kind: str, refused: Any, words: str
) -> None:
    before = {"kind": "named", "fields": {"x": {"dtype": "float"}}}
    with pytest.raises(InputUnsuitable, match=rf"the column 'x' .*{words}"):
        model(column(kind), signature=before)[0].predict([{"x": refused}])


@pytest.mark.parametrize(("kind", "refused"), [("integer", 3_000_000_000), ("float", 1e300)])
def test_jobs_are_checked_against_the_bounds(kind: str, refused: Any) -> None:
    with pytest.raises(InputInvalid, match=r"input\.x must be .* from -"):
        model(column(kind))[1].check({"x": refused})


def test_dates_are_read_one_by_one() -> None:
    loaded, _ = model(column("datetime"))
    texts = ["2024-01-02", "2024-01-02T03:04", "2024-01-02 03:04:05.5", "20240102"]
    for rows in ([{"x": each} for each in order] for order in itertools.permutations(texts)):
        assert loaded.predict(rows) == [loaded.predict([row])[0] for row in rows]


def test_columns_without_names_have_their_types() -> None:
    loaded, _ = model(column("integer", None), column("integer", None))
    assert loaded.predict([[1, 2], [3, 4]])[1] == {"0": ["3", "int32"], "1": ["4", "int32"]}
    assert model(column("string", None))[0].predict(["5", "a"])[0]["0"][0] == "'5'"


def test_arrays_of_narrow_numbers_reach_the_model() -> None:
    loaded, _ = model(column("array", items=column("float", None)))
    assert loaded.predict([{"x": [0.5, 1]}, {"x": [2]}]) == [
        {"x": ["[0.5, 1.0]", "object"]},
        {"x": ["[2.0]", "object"]},
    ]
    doubles, _ = model(column("array", items=column("double", None)))
    assert doubles.predict([{"x": [1, 2]}]) == [{"x": ["[1.0, 2.0]", "object"]}]


def test_an_object_is_not_changed_and_its_members_have_their_types() -> None:
    loaded, _ = model(column("object", None, properties={"a": column("double", None), "n": column("integer", None)}))
    row = {"a": 2, "n": 3}
    assert loaded.predict([row, row]) == [{"0": ["{'a': np.float64(2.0), 'n': np.int32(3)}", "object"]}] * 2
    assert row == {"a": 2, "n": 3}
    assert type(row["a"]) is int


@pytest.mark.parametrize(
    ("dtype", "fine", "refused"),
    [("int8", -128, 128), ("uint64", 2**63 - 1, -1), ("float16", 65_504, 70_000), ("float32", 1e38, 1e39)],
)
def test_tensors_have_their_dtype(dtype: str, fine: Any, refused: Any) -> None:
    loaded, signature = model(tensor(dtype, -1, 1))
    signature.check([fine])
    assert loaded.predict([[fine], [1]])[1] == ["[1.0]" if dtype.startswith("float") else "[1]", dtype]
    for refuse, error in ((lambda: loaded.predict([[refused]]), InputUnsuitable),
                          (lambda: signature.check([refused]), InputInvalid)):  # fmt: skip
        with pytest.raises(error, match="from "):
            refuse()


def test_large_integers_of_tensors_stay_what_they_are() -> None:
    loaded, _ = model(tensor("int64", -1))
    assert loaded.predict([1_234_567_890_123_456_789, 1.0]) == [["1234567890123456789", "int64"], ["1", "int64"]]


def test_tensors_of_free_lengths_and_fixed_batches_are_predicted_in_parts() -> None:
    loaded, _ = model(tensor("float64", -1, -1, name="x"), tensor("int64", -1, name="n"))
    rows = [{"x": [1.0] * length, "n": length} for length in (1, 2, 1)]
    assert [each["x"][0] for each in loaded.predict(rows)] == ["[1.0]", "[1.0, 1.0]", "[1.0]"]
    fixed, _ = model(tensor("float64", 1, 2))
    assert fixed.predict([[1, 2], [3, 4]]) == [["[1.0, 2.0]", "float64"], ["[3.0, 4.0]", "float64"]]


def test_without_a_signature_ours_says_the_types() -> None:
    fields = {"n": {"dtype": "int"}, "s": {"dtype": "str"}, "x": {"dtype": "float", "nullable": True}}
    loaded, _ = model(signature={"kind": "named", "fields": fields})
    row, other = {"n": 2**60, "s": "5", "x": None}, {"n": 1, "s": "a", "x": 1}
    assert loaded.predict([row, other]) == [loaded.predict([each])[0] for each in (row, other)]
    assert loaded.predict([row])[0]["n"] == [str(2**60), "int64"]
    arrays, _ = model(signature={"kind": "vector", "dtype": "int"})
    assert arrays.predict([[2**60], [1, 2]]) == [[f"[{2**60}]", "int64"], ["[1, 2]", "int64"]]


class UsesUp:
    """Takes rows out of its list, and changes its params."""

    metadata = SimpleNamespace(
        get_input_schema=lambda: None, to_dict=lambda: {"is_signature_from_type_hint": True}, signature=None
    )

    def predict(self, rows: list[float], params: dict[str, Any]) -> list[float]:
        params["factors"].append(0.0)
        return [rows.pop(0) * params["factors"][-2] for _ in range(len(rows))]


def test_a_model_may_use_up_its_rows_and_change_its_params() -> None:
    loaded = MlflowModel(UsesUp(), MlflowOptions(params={"factors": [2.0]}), Signature.from_example(1.0))
    assert [loaded.predict([1.0, 2.0]) for _ in range(2)] == [[2.0, 4.0], [2.0, 4.0]]
