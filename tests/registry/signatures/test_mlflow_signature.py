"""Conversion of MLflow's signatures and input examples."""

from __future__ import annotations

from typing import Any

import pytest

from registry.errors import MlflowFolderInvalid
from registry.mlflow.signatures import example_row, signature_of


def column(kind: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    return {"type": kind, **({} if name is None else {"name": name}), **more}


def tensor(dtype: str, *shape: int, name: str | None = None) -> dict[str, Any]:
    return column("tensor", name, **{"tensor-spec": {"dtype": dtype, "shape": list(shape)}})


def said(*inputs: dict[str, Any], by_mlflow: bool = True) -> tuple[dict[str, Any], list[str]]:
    warnings: list[str] = []
    return signature_of(inputs, by_mlflow=by_mlflow, warnings=warnings).document(), warnings


def field(dtype: str, *shape: int | None, **more: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), **more}


@pytest.mark.parametrize(
    ("inputs", "signature"),
    [
        (
            [column("double", "x"), column("long", "n"), column("string", "s"), column("boolean", "b")],
            {
                "kind": "named",
                "fields": {"x": field("float"), "n": field("int"), "s": field("str"), "b": field("bool")},
            },
        ),
        ([column("string")], {"kind": "scalar", **field("str")}),
        ([column("double"), column("integer")], {"kind": "vector", **field("float", 2)}),
        ([column("float"), column("float")], {"kind": "vector", **field("float", 2, storage="float32")}),
        (
            [column("integer", "i"), column("float", "f"), column("array", "v", items=column("integer"))],
            {
                "kind": "named",
                "fields": {
                    "i": field("int", storage="int32"),
                    "f": field("float", storage="float32"),
                    "v": field("int", None, storage="int32"),
                },
            },
        ),
        (
            [
                column("double", "x", required=False),
                column("integer", "n", optional=True),
                column("array", "v", items=column("double"), required=False),
                column("long", "k", required=True),
            ],
            {
                "kind": "named",
                "fields": {
                    "x": field("float", nullable=True, required=False),
                    "n": field("int", storage="int32", nullable=True, required=False),
                    "v": field("float", None, required=False),
                    "k": field("int"),
                },
            },
        ),
        (
            [column("object", properties={"a": column("long", required=False)})],
            {"kind": "named", "fields": {"a": field("int", nullable=True, required=False)}},
        ),
        ([column("array", items=column("double"))], {"kind": "vector", **field("float", None)}),
        (
            [column("array", "v", items=column("array", items=column("long")))],
            {"kind": "named", "fields": {"v": field("int", None, None)}},
        ),
        ([column("object", properties={"a": column("long")})], {"kind": "named", "fields": {"a": field("int")}}),
        ([tensor("float64", -1, 4)], {"kind": "vector", **field("float", 4)}),
        ([tensor("float32", -1)], {"kind": "scalar", **field("float", storage="float32")}),
        ([tensor("uint8", -1, 28, -1)], {"kind": "tensor", **field("int", 28, None, storage="uint8")}),
        (
            [tensor("float32", -1, 3, name="a"), tensor("int64", -1, name="b")],
            {"kind": "named", "fields": {"a": field("float", 3, storage="float32"), "b": field("int")}},
        ),
    ],
)
def test_a_signature_becomes_ours_without_a_word(inputs: list[dict[str, Any]], signature: dict[str, Any]) -> None:
    assert said(*inputs) == (signature, [])


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (column("datetime", "day"), "day is a datetime in MLflow: jobs send ISO 8601 text"),
        (column("binary", "blob"), "base64"),
        (tensor("float64", 1, 4), "exactly 1 rows"),
    ],
)
def test_what_ours_says_otherwise_is_a_warning(given: dict[str, Any], word: str) -> None:
    [warning] = said(given)[1]
    assert word in warning


@pytest.mark.parametrize(
    "inputs",
    [
        [column("map", "m", values=column("long"))],
        [column("any")],
        [column("object", "o", properties={"a": column("long")})],
        [column("double"), column("string")],
        [tensor("complex128", -1, 2)],
        [tensor("float64")],
        [column("array")],
        [{}],
        [3],
    ],
)
def test_what_ours_cannot_say_is_refused_with_what_to_do(inputs: list[Any]) -> None:
    with pytest.raises(MlflowFolderInvalid, match="Give a signature"):
        said(*inputs)


def test_dates_need_mlflow() -> None:
    with pytest.raises(MlflowFolderInvalid, match=r"'datetime'.* import it with the flavor python_function"):
        said(column("datetime", "day"), by_mlflow=False)


@pytest.mark.parametrize(
    ("kind", "content", "row"),
    [
        ("dataframe", {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}, {"a": 1, "b": 2}),
        ("dataframe", {"columns": [0, 1], "data": [[1, 2]]}, [1, 2]),
        ("dataframe", {"data": [["text"]]}, "text"),
        ("ndarray", [[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0]),
        ("ndarray", {"inputs": [[1.0, 2.0]]}, [1.0, 2.0]),
        ("ndarray", {"inputs": {"a": [[1.0]], "b": [2]}}, {"a": [1.0], "b": 2}),
        ("json_object", ["one", "two"], "one"),
        ("json_object", {"messages": []}, None),
        ("sparse_matrix_csr", {"data": [1]}, None),
        (None, None, None),
    ],
)
def test_the_first_row_of_an_example_is_an_input(kind: str | None, content: Any, row: Any) -> None:
    assert example_row(kind, content) == row
