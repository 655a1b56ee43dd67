"""Input tensors to rows: every datatype, raw and in JSON, every form of a model's input, and what is refused."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest

from api.errors import RequestInvalid
from api.v2.datatypes import DATATYPES
from api.v2.inputs import fields_of, rows_of, rows_of_raw
from api.v2.schemas import InputTensor
from registry.errors import InputInvalid
from registry.signatures.number_types import Storage
from registry.signatures.signature import Signature

NUMBER = Signature.parse({"kind": "scalar", "dtype": "float"})
INTEGER = Signature.parse({"kind": "scalar", "dtype": "int"})
FLAG = Signature.parse({"kind": "scalar", "dtype": "bool"})
TEXT = Signature.parse({"kind": "scalar", "dtype": "str"})
PAIR = Signature.parse({"kind": "vector", "dtype": "float", "shape": [2]})
LIST = Signature.parse({"kind": "vector", "dtype": "float", "shape": [None]})
TABLE = Signature.parse({"kind": "tensor", "dtype": "float", "shape": [2, 2]})
PERSON = Signature.from_example({"name": "Ada", "age": 42.0, "pair": [1.0, 2.0]})

NUMPY = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
}  # fmt: skip
RNG = np.random.default_rng(0)


def tensor(
    shape: list[int], datatype: str, data: Any = None, *, name: str = "x", size: int | None = None
) -> InputTensor:
    parameters = {} if size is None else {"binary_data_size": size}
    return InputTensor(name=name, shape=shape, datatype=datatype, data=data, parameters=parameters)


def rows(signature: Signature, *tensors: InputTensor, tail: bytes = b"") -> list[Any]:
    return rows_of(signature, tensors, memoryview(tail))


def refused(signature: Signature, *tensors: InputTensor, tail: bytes = b"") -> str:
    with pytest.raises(RequestInvalid) as caught:
        rows_of(signature, tensors, memoryview(tail))
    return str(caught.value)


@pytest.mark.parametrize("datatype", NUMPY)
def test_raw_numbers_are_read_and_written_as_numpy_does(datatype: str) -> None:
    bits: Any = RNG.integers(0, 256, size=64 * 8, dtype=np.uint8)
    values = (bits & 1).astype(np.bool_) if datatype == "BOOL" else bits.view(NUMPY[datatype])
    values = values[np.isfinite(values)]
    read = DATATYPES[datatype].decode(memoryview(values.tobytes()))
    assert read == values.tolist()
    assert list(map(type, read)) == list(map(type, values.tolist()))
    assert DATATYPES[datatype].encode(read) == values.tobytes()


def test_raw_texts_are_read_and_written_with_their_lengths() -> None:
    raw = b"".join(struct.pack("<I", len(each)) + each for each in (b"", b"abc", "ü€".encode()))
    assert DATATYPES["BYTES"].decode(memoryview(raw)) == ["", "abc", "ü€"]
    assert DATATYPES["BYTES"].encode(["", "abc", "ü€"]) == raw


@pytest.mark.parametrize("datatype", [name for name in NUMPY if name != "BOOL"])
def test_a_model_of_numbers_takes_every_numeric_datatype(datatype: str) -> None:
    values: Any = np.array([1, 0, 100], dtype=NUMPY[datatype])
    assert rows(NUMBER, tensor([3], datatype, size=values.nbytes), tail=values.tobytes()) == [1, 0, 100]
    assert rows(NUMBER, tensor([3], datatype, values.tolist())) == [1, 0, 100]
    if datatype.startswith("FP"):
        assert "inputs[0].datatype: must be one of UINT8" in refused(INTEGER, tensor([3], datatype, [1, 0, 100]))
    else:
        assert rows(INTEGER, tensor([3], datatype, values.tolist())) == [1, 0, 100]


def test_a_model_of_flags_or_texts_takes_its_datatype_alone() -> None:
    assert rows(FLAG, tensor([2], "BOOL", size=2), tail=b"\x00\x01") == [False, True]
    assert rows(FLAG, tensor([2], "BOOL", [False, True])) == [False, True]
    assert rows(TEXT, tensor([2], "BYTES", ["a", "ü"])) == ["a", "ü"]
    assert "must be one of BOOL for this model; it is UINT8" in refused(FLAG, tensor([1], "UINT8", [1]))
    assert "must be one of BYTES for this model" in refused(TEXT, tensor([1], "FP32", [1]))
    assert "it is 'BF16'" in refused(NUMBER, tensor([1], "BF16", [1]))


@pytest.mark.parametrize(
    ("signature", "shape", "expected"),
    [
        (NUMBER, [], [0]),
        (NUMBER, [3], [0, 1, 2]),
        (NUMBER, [3, 1], [0, 1, 2]),
        (PAIR, [2], [[0, 1]]),
        (PAIR, [3, 2], [[0, 1], [2, 3], [4, 5]]),
        (LIST, [3], [[0, 1, 2]]),
        (LIST, [2, 3], [[0, 1, 2], [3, 4, 5]]),
        (TABLE, [2, 2], [[[0, 1], [2, 3]]]),
        (TABLE, [2, 2, 2], [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]),
    ],
)
def test_the_first_dimension_is_the_batch_and_may_be_left_out_of_one_row(
    signature: Signature, shape: list[int], expected: list[Any]
) -> None:
    values = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
    assert rows(signature, tensor(shape, "INT32", values.tolist())) == expected
    assert rows(signature, tensor(shape, "INT32", values.ravel().tolist())) == expected
    assert rows(signature, tensor(shape, "INT32", size=values.nbytes), tail=values.tobytes()) == expected


@pytest.mark.parametrize(
    ("signature", "shape"),
    [
        (NUMBER, [3, 2]),
        (NUMBER, [0]),
        (PAIR, [3]),
        (PAIR, [2, 3]),
        (PAIR, [0, 2]),
        (LIST, [2, 0]),
        (TABLE, [2]),
        (TABLE, [4]),
    ],
)
def test_a_shape_that_is_neither_rows_nor_a_row_is_refused(signature: Signature, shape: list[int]) -> None:
    assert "inputs[0].shape: must" in refused(signature, tensor(shape, "FP32", [1] * math.prod(shape)))


def test_each_field_of_a_named_input_is_a_tensor() -> None:
    name = tensor([2], "BYTES", ["Ada", "Alan"], name="name")
    age = tensor([2, 1], "INT32", [36, 41], name="age")
    pair = tensor([2, 2], "FP32", [1, 2, 3, 4], name="pair")
    expected = [{"name": "Ada", "age": 36, "pair": [1, 2]}, {"name": "Alan", "age": 41, "pair": [3, 4]}]
    assert [dict(sorted(each.items())) for each in rows(PERSON, pair, name, age)] == [
        dict(sorted(each.items())) for each in expected
    ]
    assert refused(PERSON, name, age) == "inputs: must hold 'pair'."
    assert "inputs[3].name: must be each of these once: name, age, pair" in refused(PERSON, pair, name, age, age)
    assert "equally many rows" in refused(PERSON, name, age, tensor([1, 2], "FP32", [1, 2], name="pair"))


def test_raw_tensors_follow_each_other_in_the_order_of_the_inputs() -> None:
    texts = DATATYPES["BYTES"].encode(["Ada"])
    pair = np.array([[1, 2]], dtype=np.float32).tobytes()
    named = (
        tensor([1], "BYTES", name="name", size=len(texts)),
        tensor([1], "INT8", [36], name="age"),
        tensor([1, 2], "FP32", name="pair", size=len(pair)),
    )
    assert rows(PERSON, *named, tail=texts + pair) == [{"name": "Ada", "age": 36, "pair": [1, 2]}]
    assert "say they are 15 bytes after the JSON; there are 16" in refused(PERSON, *named, tail=texts + pair + b"x")
    assert "the body has 7 bytes left for it" in refused(PERSON, *named, tail=(texts + pair)[:-1])


@pytest.mark.parametrize(
    ("asked", "tail", "said"),
    [
        (tensor([2], "FP32", size=7), b"1234567", "is 7; it must be 8 bytes for FP32 of shape [2]"),
        (tensor([2], "FP32", size=-1), b"", "binary_data_size: is -1"),
        (tensor([2], "FP32"), b"", "inputs[0].data: must be a list"),
        (tensor([2], "FP32", [1]), b"", "holds 1 elements; its shape [2] means 2"),
        (tensor([2, 2], "FP32", [[1, 2], [3]]), b"", "is nested otherwise than its shape"),
        (tensor([2], "FP32", [[1], [2]]), b"", "must hold FP32 alone; it holds list"),
        (tensor([2], "FP32", [1, True]), b"", "must hold FP32 alone; it holds bool"),
        (tensor([1], "UINT8", [256]), b"", "holds 256, which is no UINT8"),
        (tensor([1], "INT8", [-129]), b"", "holds -129, which is no INT8"),
        (tensor([2**31] * 16, "FP32", size=0), b"", "it must be"),
    ],
)
def test_a_tensor_that_is_not_what_it_says_is_refused(asked: InputTensor, tail: bytes, said: str) -> None:
    assert said in refused(NUMBER, asked, tail=tail)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"\x01\x00\x00\x00\xff", "is not UTF-8"),
        (b"\x05\x00\x00\x00ab", "cut off"),
        (b"\x05\x00", "cut off"),
        (b"\x00\x00\x00\x00" * 2, "holds 2 elements; its shape [1] means 1"),
    ],
)
def test_raw_texts_that_are_none_are_refused(raw: bytes, said: str) -> None:
    assert said in refused(TEXT, tensor([1], "BYTES", size=len(raw)), tail=raw)


def test_shared_memory_is_refused() -> None:
    asked = InputTensor(name="x", shape=[1], datatype="FP32", parameters={"shared_memory_region": "r"})
    assert "can't name shared memory" in refused(NUMBER, asked)


def test_a_body_that_is_one_raw_input_has_the_datatype_of_the_metadata() -> None:
    values = memoryview(np.arange(4, dtype=np.float64).tobytes())
    assert rows_of_raw(NUMBER, values) == [0, 1, 2, 3]
    assert rows_of_raw(PAIR, values) == [[0, 1], [2, 3]]
    assert rows_of_raw(LIST, values) == [[0, 1, 2, 3]]
    assert rows_of_raw(TEXT, memoryview("ü".encode())) == ["ü"]
    assert rows_of_raw(Signature.from_example({"x": 1.0}), values) == [{"x": float(each)} for each in range(4)]
    for signature, raw in ((PAIR, values[:8]), (PAIR, values[:7]), (NUMBER, values[:0]), (PERSON, values)):
        with pytest.raises(RequestInvalid):
            rows_of_raw(signature, raw)


@pytest.mark.parametrize("storage", Storage)
def test_metadata_names_the_datatype_that_the_model_stores(storage: Storage) -> None:
    [field] = fields_of(Signature.parse({"kind": "scalar", "dtype": storage.value}))
    assert np.dtype(NUMPY[field.datatype]) == np.dtype(storage.value)
    greatest = np.finfo(storage).max if storage.is_float else np.iinfo(storage).max
    signature = Signature.parse({"kind": "scalar", "dtype": storage.value})
    values: Any = np.array([greatest], dtype=storage.value)
    [row] = rows(signature, tensor([1], field.datatype, size=values.nbytes), tail=values.tobytes())
    assert row == greatest
    signature.check(row)
    assert rows_of_raw(signature, memoryview(values.tobytes())) == [row]


@pytest.mark.parametrize(
    ("storage", "datatype", "sent"),
    [("float32", "FP64", 1e300), ("float16", "FP32", 1e5), ("int32", "INT64", 3_000_000_000), ("uint8", "INT16", -1),
     ("int64", "UINT64", 2**63)],
)  # fmt: skip
def test_a_wider_datatype_is_checked_against_the_bounds(storage: str, datatype: str, sent: Any) -> None:
    signature = Signature.parse({"kind": "scalar", "dtype": storage})
    values: Any = np.array([1, sent], dtype=NUMPY[datatype])
    found = rows(signature, tensor([2], datatype, size=values.nbytes), tail=values.tobytes())
    signature.check(found[0])
    with pytest.raises(InputInvalid, match=rf"inputs\[1\] must be .* from .* to .* \({storage}\)"):
        signature.check(found[1], "inputs[1]")


def test_nan_and_null_are_missing_values_where_they_may_be() -> None:
    signature = Signature.parse({"kind": "vector", "dtype": "float32", "shape": [2], "nullable": True})
    values: Any = np.array([[math.nan, 1], [2, math.nan]], dtype=np.float32)
    expected = [[None, 1], [2, None]]
    assert rows(signature, tensor([2, 2], "FP32", size=values.nbytes), tail=values.tobytes()) == expected
    assert rows(signature, tensor([2, 2], "FP32", expected)) == expected
    assert rows_of_raw(signature, memoryview(values.tobytes())) == expected
    assert "it holds null" in refused(PAIR, tensor([2, 2], "FP32", expected))
    [row, _] = rows(PAIR, tensor([2, 2], "FP32", size=values.nbytes), tail=values.tobytes())
    with pytest.raises(InputInvalid, match=r"input\[0\] must be a finite number; it is NaN"):
        PAIR.check(row)


def test_infinity_is_no_missing_value() -> None:
    signature = Signature.parse({"kind": "scalar", "dtype": "float", "nullable": True})
    values: Any = np.array([math.inf], dtype=np.float64)
    [row] = rows(signature, tensor([1], "FP64", size=8), tail=values.tobytes())
    with pytest.raises(InputInvalid, match="a finite number, or null; it is Infinity"):
        signature.check(row)


def test_integers_with_gaps_may_be_sent_as_floats() -> None:
    signature = Signature.parse({"kind": "scalar", "dtype": "int32", "nullable": True})
    values: Any = np.array([3, math.nan, 0.5])
    found = rows(signature, tensor([3], "FP64", size=24), tail=values.tobytes())
    assert found == [3, None, 0.5]
    assert [type(each) for each in found] == [int, type(None), float]
    with pytest.raises(InputInvalid, match="an integer from"):
        signature.check(found[2])


def test_texts_and_truth_values_may_be_null_in_json() -> None:
    for dtype, datatype, value in (("str", "BYTES", "a"), ("bool", "BOOL", True)):
        signature = Signature.parse({"kind": "scalar", "dtype": dtype, "nullable": True})
        assert rows(signature, tensor([2], datatype, [value, None])) == [value, None]


def test_a_tensor_may_be_left_out_where_its_field_may() -> None:
    fields = {"age": {"dtype": "float", "nullable": True, "required": False}, "name": {"dtype": "str"}}
    signature = Signature.parse({"kind": "named", "fields": fields})
    name = tensor([1], "BYTES", ["Ada"], name="name")
    assert rows(signature, name) == [{"name": "Ada"}]
    assert rows(signature, name, tensor([1], "FP32", [36], name="age")) == [{"name": "Ada", "age": 36}]
    assert refused(signature, tensor([1], "FP32", [36], name="age")) == "inputs: must hold 'name'."
    assert [each.parameters for each in fields_of(signature)] == [{"nullable": True, "required": False}, {}]


def test_metadata_has_the_categories() -> None:
    field = {"dtype": "str", "categories": ["red", "blue"]}
    [described] = fields_of(Signature.parse({"kind": "named", "fields": {"colour": field}}))
    assert described.parameters == {"categories": '["red", "blue"]'}
