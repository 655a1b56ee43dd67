from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeClassifier

from registry.errors import InputInvalid, InputUnsuitable, ModelLoadFailed, OutputInvalid, RuntimeOptionsInvalid
from tests.registry.conftest import RoundTrip

IRIS = load_iris()
DIABETES = load_diabetes()


def graph(nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any]) -> onnx.ModelProto:
    """A model of these nodes; inputs and outputs are (element type, shape), with None for the batch."""
    made = helper.make_graph(
        [helper.make_node(operator, list(takes), list(gives)) for operator, takes, gives in nodes],
        "graph",
        [helper.make_tensor_value_info(name, *each) for name, each in inputs.items()],
        [helper.make_tensor_value_info(name, *each) for name, each in outputs.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def identity(kind: int, shape: list[int | None] | None = None) -> onnx.ModelProto:
    place = (kind, shape or [None, 1])
    return graph([("Identity", ["x"], ["y"])], {"x": place}, {"y": place})


@pytest.fixture(scope="module")
def classifier() -> Any:
    return DecisionTreeClassifier(max_depth=3, random_state=0).fit(IRIS.data, IRIS.target)


@pytest.fixture(scope="module")
def converted(classifier: Any) -> Any:
    from skl2onnx import to_onnx

    return to_onnx(classifier, IRIS.data[:1].astype(np.float32), options={"zipmap": False})


def test_a_converted_classifier_answers_label_and_probabilities(
    round_trip: RoundTrip, classifier: Any, converted: Any
) -> None:
    model = round_trip(converted, input_example=IRIS.data[0].tolist())
    answers = model.predict(IRIS.data.tolist())
    assert [answer["label"] for answer in answers] == classifier.predict(IRIS.data).tolist()
    assert [answer["probabilities"] for answer in answers] == pytest.approx(
        [pytest.approx(row, abs=1e-6) for row in classifier.predict_proba(IRIS.data).tolist()]
    )


def test_a_model_is_recognised_as_an_object_and_as_bytes(round_trip: RoundTrip, converted: Any) -> None:
    version = round_trip.register(converted, input_example=IRIS.data[0].tolist())
    again = round_trip.register(converted.SerializeToString(), input_example=IRIS.data[0].tolist())
    assert version.runtime == again.runtime == "onnx"
    assert version.artifact_sha256 == again.artifact_sha256
    assert set(version.metadata["built_with"]) == {"python", "onnxruntime"}


def test_probabilities_by_class_are_an_object(round_trip: RoundTrip, classifier: Any) -> None:
    from skl2onnx import to_onnx

    model = round_trip(to_onnx(classifier, IRIS.data[:1].astype(np.float32)), input_example=IRIS.data[0].tolist())
    assert list(model.predict([IRIS.data[0].tolist()])[0]["output_probability"]) == ["0", "1", "2"]


def test_a_converted_regressor_answers_one_value(round_trip: RoundTrip) -> None:
    from skl2onnx import to_onnx

    regressor = LinearRegression().fit(DIABETES.data, DIABETES.target)
    model = round_trip(to_onnx(regressor, DIABETES.data[:1]), input_example=DIABETES.data[0].tolist())
    answers = model.predict(DIABETES.data.tolist())
    assert np.ravel(answers) == pytest.approx(regressor.predict(DIABETES.data))
    assert len(answers[0]) == 1


def test_an_output_can_be_chosen(round_trip: RoundTrip, classifier: Any, converted: Any) -> None:
    model = round_trip(converted, input_example=IRIS.data[0].tolist(), runtime_options={"outputs": ["label"]})
    assert model.predict(IRIS.data.tolist()) == classifier.predict(IRIS.data).tolist()


def test_an_output_that_is_not_there_is_named(round_trip: RoundTrip, converted: Any) -> None:
    with pytest.raises(ModelLoadFailed, match="no output answer; it has label, probabilities"):
        round_trip(converted, input_example=IRIS.data[0].tolist(), runtime_options={"outputs": ["label", "answer"]})


def test_an_input_of_the_wrong_length_fails_at_once(round_trip: RoundTrip, converted: Any) -> None:
    with pytest.raises(ModelLoadFailed, match=r"in the shape \[any, 4\]; an input of the signature .* shape \[2\]"):
        round_trip.register(converted, input_example=[1.0, 2.0])


def test_each_named_field_is_an_input_of_its_own(round_trip: RoundTrip) -> None:
    column = (TensorProto.DOUBLE, [None, 1])
    model = graph([("Sub", ["a", "b"], ["c"])], {"a": column, "b": column}, {"c": column})
    loaded = round_trip(model, input_example={"b": 1.0, "a": 2.0})
    assert loaded.predict([{"a": 5, "b": 3}, {"b": 0.5, "a": 1}]) == [[2.0], [0.5]]


def test_named_fields_are_the_columns_of_a_single_input(round_trip: RoundTrip) -> None:
    loaded = round_trip(identity(TensorProto.DOUBLE, [None, 2]), input_example={"first": 1.0, "second": 2.0})
    assert loaded.predict([{"second": 20, "first": 10}]) == [[10.0, 20.0]]


def test_several_inputs_need_named_fields(round_trip: RoundTrip) -> None:
    column = (TensorProto.DOUBLE, [None, 1])
    model = graph([("Sub", ["a", "b"], ["c"])], {"a": column, "b": column}, {"c": column})
    for example in ([1.0, 2.0], {"a": 1.0, "c": 2.0}):
        with pytest.raises(ModelLoadFailed, match="takes the inputs a, b: its signature must be of kind named"):
            round_trip(model, input_example=example)


def test_a_scalar_is_one_column_and_text_is_text(round_trip: RoundTrip) -> None:
    assert round_trip(identity(TensorProto.DOUBLE), input_example=2.5).predict([1.5, 2]) == [[1.5], [2.0]]
    loaded = round_trip(identity(TensorProto.STRING, [None, 2]), input_example=["a", "b"])
    assert loaded.predict([["ä", "😀"]]) == [["ä", "😀"]]


def test_a_tensor_keeps_its_shape(round_trip: RoundTrip) -> None:
    example = [[[1.0, 2.0], [3.0, 4.0]]]
    loaded = round_trip(identity(TensorProto.FLOAT, [None, 1, 2, 2]), input_example=example)
    assert loaded.predict([example, example]) == [example, example]


@pytest.mark.parametrize(
    ("kind", "fine", "refused"),
    [
        (TensorProto.INT64, 2**63 - 1, 0.5),
        (TensorProto.INT32, -(2**31), 2**31),
        (TensorProto.UINT8, 255, 256),
        (TensorProto.UINT32, 2**32 - 1, -1),
        (TensorProto.UINT64, 2**63 - 1, -1),
        (TensorProto.INT8, -128, 128),
        (TensorProto.BOOL, True, 2),
        (TensorProto.FLOAT, 1e38, 1e39),
        (TensorProto.FLOAT16, 60_000, 70_000),
    ],
)
def test_a_number_that_an_input_would_change_is_refused(
    round_trip: RoundTrip, kind: int, fine: Any, refused: Any
) -> None:
    dtype = "float" if isinstance(refused, float) and not isinstance(fine, int) else "int"
    signature = {"kind": "scalar", "dtype": "bool" if fine is True else dtype}
    loaded = round_trip(identity(kind), input_example=fine, signature=signature)
    assert loaded.predict([fine])[0] == [pytest.approx(fine)]
    with pytest.raises(InputUnsuitable, match=r"the input 'x' must be (numbers|whole numbers|true)"):
        loaded.predict([refused])


def test_an_output_without_a_value_for_each_row_is_refused(round_trip: RoundTrip) -> None:
    model = graph(
        [("ReduceSum", ["x"], ["y"])],
        {"x": (TensorProto.DOUBLE, [None, 1])},
        {"y": (TensorProto.DOUBLE, None)},
    )
    with pytest.raises(OutputInvalid, match="'y' has not one value for each of the 2 rows"):
        round_trip(model, input_example=1.0).predict([1.0, 2.0])


def test_an_infinite_output_is_refused(round_trip: RoundTrip) -> None:
    model = graph(
        [("Exp", ["x"], ["y"])],
        {"x": (TensorProto.DOUBLE, [None, 1])},
        {"y": (TensorProto.DOUBLE, [None, 1])},
    )
    loaded = round_trip(model, input_example=1.0)
    with pytest.raises(OutputInvalid, match=r"y\[1\]\[0\] is Infinity"):
        loaded.predict([1.0, 1e6])


def test_a_kind_of_input_that_json_can_not_say_is_named(round_trip: RoundTrip) -> None:
    with pytest.raises(ModelLoadFailed, match=r"takes tensor\(bfloat16\), which can't be converted from JSON"):
        round_trip(identity(TensorProto.BFLOAT16), input_example=1.0)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x00" * 100])
def test_bytes_that_are_no_model_fail_to_load(round_trip: RoundTrip, content: bytes) -> None:
    with pytest.raises(ModelLoadFailed, match="The model can't be loaded: "):
        round_trip.register(content, input_example=1.0)


@pytest.mark.parametrize("options", [{"threads": 0}, {"threads": 1.5}, {"outputs": "label"}, {"gpu": True}])
def test_options_are_checked(round_trip: RoundTrip, converted: Any, options: dict[str, Any]) -> None:
    with pytest.raises(RuntimeOptionsInvalid, match=rf"runtime_options\.{next(iter(options))}"):
        round_trip.register(converted, input_example=IRIS.data[0].tolist(), runtime_options=options)


def test_an_integer_is_the_same_beside_a_float(round_trip: RoundTrip) -> None:
    loaded = round_trip(identity(TensorProto.INT64), input_example=1)
    large = 1_234_567_890_123_456_789
    assert loaded.predict([large]) == [[large]]
    assert loaded.predict([large, 1.0]) == [[large], [1]]
    assert loaded.predict([1.0, large, -large]) == [[1], [large], [-large]]


def test_an_unsigned_integer_of_64_bits_reaches_the_model(round_trip: RoundTrip) -> None:
    signature = {"kind": "scalar", "dtype": "uint64"}
    version = round_trip.register(identity(TensorProto.UINT64), input_example=1, signature=signature)
    loaded = round_trip.load(version, round_trip.cache.fetch(version.artifact_sha256))
    assert loaded.predict([2**64 - 1, 0]) == [[2**64 - 1], [0]]


@pytest.mark.parametrize(
    ("kind", "fine", "refused"),
    [(TensorProto.FLOAT, 2**24, 2**24 + 1), (TensorProto.DOUBLE, 2**53, 2**53 + 1), (TensorProto.FLOAT16, 2048, 2049)],
)
def test_integers_that_a_float_would_round_are_refused(
    round_trip: RoundTrip, kind: int, fine: int, refused: int
) -> None:
    loaded = round_trip(identity(kind), input_example=1, signature={"kind": "scalar", "dtype": "int"})
    assert loaded.predict([fine]) == [[fine]]
    with pytest.raises(InputUnsuitable, match=f"can't hold the integer {refused}"):
        loaded.predict([refused])


def test_an_input_of_rank_1_holds_one_value_a_row(round_trip: RoundTrip) -> None:
    assert round_trip(identity(TensorProto.FLOAT, [None]), input_example=2.5).predict([1.5, 2]) == [1.5, 2.0]
    assert round_trip(identity(TensorProto.STRING, [None]), input_example="a").predict(["b", "ä"]) == ["b", "ä"]
    loaded = round_trip(identity(TensorProto.FLOAT, [None]), input_example={"value": 2.5})
    assert loaded.predict([{"value": 1.5}, {"value": 2}]) == [1.5, 2.0]


def test_lengths_stand_beside_frames_of_any_length(round_trip: RoundTrip) -> None:
    frames, lengths = (TensorProto.FLOAT, ["batch", "time", 2]), (TensorProto.INT64, ["batch"])
    model = graph(
        [("Identity", ["frames"], ["same"]), ("Identity", ["length"], ["long"])],
        {"frames": frames, "length": lengths},
        {"same": frames, "long": lengths},
    )
    signature = {
        "kind": "named",
        "fields": {"frames": {"dtype": "float", "shape": [None, 2]}, "length": {"dtype": "int"}},
    }
    loaded = round_trip(model, signature=signature)
    rows = [{"frames": [[0.5, 1.0]] * count, "length": count} for count in (2, 1, 3, 2, 1)]
    assert loaded.predict(rows) == [{"same": row["frames"], "long": row["length"]} for row in rows]


def test_rows_of_different_lengths_are_predicted_apart(round_trip: RoundTrip) -> None:
    model = graph(
        [("ReduceSum", ["x", "axes"], ["y"])],
        {"x": (TensorProto.DOUBLE, [None, None])},
        {"y": (TensorProto.DOUBLE, [None, 1])},
    )
    model.graph.initializer.append(helper.make_tensor("axes", TensorProto.INT64, [1], [1]))
    loaded = round_trip(model, signature={"kind": "vector", "dtype": "float"})
    assert loaded.predict([[1, 2], [3], [4, 5, 6], [7, 8], [9]]) == [[3], [3], [15], [15], [9]]


@pytest.mark.parametrize("size", [1, 2, 8])
def test_a_batch_is_as_long_as_the_model_wants(round_trip: RoundTrip, size: int) -> None:
    loaded = round_trip(identity(TensorProto.FLOAT, [size, 3]), input_example=[1.0, 2.0, 3.0])
    rows = [[float(row), 1.0, 2.0] for row in range(5)]
    assert loaded.predict(rows) == rows
    assert round_trip(identity(TensorProto.FLOAT, [size]), input_example=1.0).predict([1, 2, 3]) == [1, 2, 3]


def test_a_model_without_a_batch_gets_one_row_at_a_time(round_trip: RoundTrip) -> None:
    loaded = round_trip(identity(TensorProto.FLOAT, [None]), signature={"kind": "vector", "dtype": "float"})
    assert loaded.predict([[1, 2], [3], [4, 5, 6]]) == [[1, 2], [3], [4, 5, 6]]
    table = [[1.0, 2.0], [3.0, 4.0]]
    assert round_trip(identity(TensorProto.FLOAT, [2, 2]), input_example=table).predict([table, table]) == [table] * 2


def test_batches_of_two_fixed_lengths_are_refused(round_trip: RoundTrip) -> None:
    inputs = {"a": (TensorProto.FLOAT, [2, 1]), "b": (TensorProto.FLOAT, [4, 1])}
    nodes = [("Identity", ["a"], ["c"]), ("Identity", ["b"], ["d"])]
    model = graph(nodes, inputs, {"c": inputs["a"], "d": inputs["b"]})
    with pytest.raises(ModelLoadFailed, match=r"batches of different lengths at once: \[2, 4\]"):
        round_trip.register(model, input_example={"a": 1.0, "b": 1.0})


def test_a_missing_number_is_nan_and_nothing_else_can_be_missing(round_trip: RoundTrip) -> None:
    model = graph(
        [("IsNaN", ["x"], ["y"])], {"x": (TensorProto.FLOAT, [None, 2])}, {"y": (TensorProto.BOOL, [None, 2])}
    )
    assert round_trip(model, input_example=[1.0, None]).predict([[None, 2], [1, 3]]) == [[True, False], [False, False]]
    for kind, dtype in ((TensorProto.INT64, "int"), (TensorProto.STRING, "str"), (TensorProto.BOOL, "bool")):
        loaded = round_trip(identity(kind), signature={"kind": "scalar", "dtype": dtype, "nullable": True})
        with pytest.raises(InputUnsuitable, match="not null"):
            loaded.predict([None])


def test_a_field_that_is_left_out_is_a_missing_number(round_trip: RoundTrip) -> None:
    column = (TensorProto.FLOAT, [None, 1])
    model = graph([("IsNaN", ["a"], ["c"]), ("Identity", ["b"], ["d"])], {"a": column, "b": column},
                  {"c": (TensorProto.BOOL, [None, 1]), "d": column})  # fmt: skip
    fields = {"a": {"dtype": "float", "required": False}, "b": {"dtype": "float"}}
    loaded = round_trip(model, signature={"kind": "named", "fields": fields})
    assert loaded.predict([{"b": 1}, {"a": 2, "b": 3}]) == [{"c": [True], "d": [1]}, {"c": [False], "d": [3]}]


@pytest.mark.parametrize(
    ("kind", "example", "noted", "fine", "refused", "words"),
    [
        (TensorProto.FLOAT, 1.0, {"dtype": "float", "storage": "float32"}, 3e38, 1e300, "3.4028235e[+]38"),
        (TensorProto.FLOAT16, 1, {"dtype": "float", "storage": "float16"}, 65_504, 70_000, "65504"),
        (TensorProto.INT32, 1, {"dtype": "int", "storage": "int32"}, 2**31 - 1, 3_000_000_000, "2147483647"),
        (TensorProto.UINT8, 1, {"dtype": "int", "storage": "uint8"}, 255, 256, "from 0 to 255"),
        (TensorProto.UINT64, 1, {"dtype": "int", "storage": "uint64"}, 2**64 - 1, -1, "18446744073709551615"),
        (TensorProto.INT64, 1, {"dtype": "int"}, 2**63 - 1, 2.5, "an integer"),
    ],
)
def test_jobs_are_checked_against_what_the_model_declares(
    round_trip: RoundTrip, kind: int, example: Any, noted: dict[str, Any], fine: Any, refused: Any, words: str
) -> None:
    signature = round_trip.register(identity(kind), input_example=example).signature
    assert signature.document() == {"kind": "scalar", "shape": [], **noted}
    signature.check(fine)
    with pytest.raises(InputInvalid, match=words):
        signature.check(refused)


def test_each_field_has_the_bounds_of_its_input(round_trip: RoundTrip) -> None:
    inputs = {"a": (TensorProto.INT8, [None]), "b": (TensorProto.DOUBLE, [None])}
    nodes = [("Identity", ["a"], ["c"]), ("Identity", ["b"], ["d"])]
    model = graph(nodes, inputs, {"c": inputs["a"], "d": inputs["b"]})
    signature = round_trip.register(model, input_example={"a": 1, "b": 0.5}).signature
    assert signature.fields is not None
    assert [each.storage for each in signature.fields.values()] == ["int8", None]
    with pytest.raises(InputInvalid, match=r"input_example\.a must be an integer from -128 to 127"):
        round_trip.register(model, input_example={"a": 200, "b": 0.5})
    columns = round_trip.register(identity(TensorProto.FLOAT, [None, 2]), input_example={"c": 1.0, "d": 2}).signature
    assert columns.fields is not None
    assert {each.storage for each in columns.fields.values()} == {"float32"}


def test_what_an_integer_input_can_not_hold_is_refused_by_the_host(round_trip: RoundTrip) -> None:
    version = round_trip.register(identity(TensorProto.INT32), input_example=1.0)
    assert version.signature.document() == {"kind": "scalar", "dtype": "float", "shape": [], "keeps_integers": False}
    loaded = round_trip.load(version, round_trip.cache.fetch(version.artifact_sha256))
    with pytest.raises(InputUnsuitable, match="whole numbers from -2147483648 to 2147483647"):
        loaded.predict([3_000_000_000])
