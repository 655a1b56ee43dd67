from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeClassifier

from registry.errors import ModelLoadFailed, OutputInvalid, RuntimeOptionsInvalid
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
    with pytest.raises(ModelLoadFailed, match="fails on its example: "):
        round_trip(converted, input_example=[1.0, 2.0])


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
    with pytest.raises(ValueError, match="the model takes "):
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
    with pytest.raises(ModelLoadFailed, match=r"takes tensor\(bfloat16\), which can't be made of JSON"):
        round_trip(identity(TensorProto.BFLOAT16), input_example=1.0)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x00" * 100])
def test_bytes_that_are_no_model_fail_to_load(round_trip: RoundTrip, content: bytes) -> None:
    with pytest.raises(ModelLoadFailed, match="The model can't be loaded: "):
        round_trip.register(content, input_example=1.0)


@pytest.mark.parametrize("options", [{"threads": 0}, {"threads": 1.5}, {"outputs": "label"}, {"gpu": True}])
def test_options_are_checked(round_trip: RoundTrip, converted: Any, options: dict[str, Any]) -> None:
    with pytest.raises(RuntimeOptionsInvalid, match=rf"runtime_options\.{next(iter(options))}"):
        round_trip.register(converted, input_example=IRIS.data[0].tolist(), runtime_options=options)
