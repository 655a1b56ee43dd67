"""The one rule of inputs, for every runtime: a row's answer is what it is alone, whatever stands beside it.

Rows come alone and in batches of any size and order, beside rows that fail, and beside other spellings of the same
type: 1 and 1.0, null and a field that is left out, text that looks like a date. Answers are compared to the bit.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry import runtimes
from registry.signatures.signature import Signature
from workers.hosts import frames
from workers.hosts.host_side.predictor import Predictor

BAD = "bad"
Answer = tuple[str, str]


class Asked:
    """A model in a host, as its worker asks it."""

    def __init__(self, model: Any, pool: list[Any], signature: Signature) -> None:
        for row in pool:
            signature.check(row)
        self.pool = pool
        self._predictor = Predictor(model)
        # It would undo what Hypothesis changes in this process.
        self._predictor._process_state = cast("Any", SimpleNamespace(restore=lambda: None))

    @cache  # noqa: B019 - as long as the tests of this file
    def alone(self, index: int) -> Answer:
        [answer] = self.together([index])
        return answer

    def together(self, indexes: list[int], max_batch_size: int = 64) -> list[Answer]:
        """The text of each answer, and of what was raised."""
        request = {"number": 1, "rows": [self.pool[index] for index in indexes], "max_batch_size": max_batch_size}
        answer = json.loads(self._predictor.answer(frames.to_json(request))[4:])
        errors = {int(index): json.dumps(error) for index, error in answer["errors"].items()}
        return [(json.dumps(output), errors.get(index, "")) for index, output in enumerate(answer["outputs"])]


def python_row(row: dict[str, Any]) -> Any:
    """Changes its row before it fails."""
    row["px"] /= 255
    row.pop("extra", None)
    if row["kind"] == BAD:
        raise ValueError("unknown kind")
    return [row["px"], type(row["px"]).__name__, sorted(row)]


def python_rows(rows: list[dict[str, Any]]) -> list[Any]:
    return [python_row(rows.pop(0)) for _ in range(len(rows))]


PYTHON_SIGNATURE = {
    "kind": "named",
    "fields": {
        "px": {"dtype": "float"},
        "kind": {"dtype": "str"},
        "extra": {"dtype": "float", "nullable": True, "required": False},
    },
}
PYTHON_ROWS: list[Any] = [
    {"px": 255.0, "kind": "good"},
    {"px": 255, "kind": "good", "extra": None},
    {"px": 1, "kind": "2026-11-29", "extra": 1},
    {"px": 51.0, "kind": BAD},
    {"px": 3, "kind": "", "extra": 1.0},
]


def python(*, vectorized: bool) -> Asked:
    from registry.runtimes.python import PythonModel

    model = PythonModel(python_rows if vectorized else python_row, vectorized=vectorized)
    return Asked(model, PYTHON_ROWS, Signature.parse(PYTHON_SIGNATURE))


class Shown:
    """An estimator that answers what it was given, by value and dtype; a bad row fails its batch."""

    def __init__(self, columns: list[str] | None = None) -> None:
        if columns is not None:
            self.feature_names_in_ = np.array(columns, dtype=object)

    def predict(self, given: Any) -> list[str]:
        rows = given.astype(object).to_numpy() if hasattr(given, "columns") else given
        dtypes = list(map(str, given.dtypes)) if hasattr(given, "columns") else [str(given.dtype)]
        if any(BAD in list(np.ravel(row)) for row in rows):
            raise ValueError("a bad row")
        return [repr([repr(value) for value in np.ravel(row)] + dtypes) for row in rows]


FRAME_ROWS: list[Any] = [
    {"zip": 80331, "size": 2, "day": "2026-11-29", "colour": "red", "rank": 1},
    {"zip": 10115.0, "size": 2.5, "day": "29/11/2026", "colour": None, "rank": 2**53},
    {"zip": 1.5, "size": None, "day": "1.0", "colour": "blue", "rank": None},
    {"zip": 0, "size": 1e300, "colour": "red", "rank": -(2**53)},
    {"zip": 7, "size": -0.0, "day": None, "colour": "blue", "rank": 3},
    {"zip": 7, "size": 0.1, "day": BAD, "colour": "blue", "rank": 3},
    {"zip": 2**63, "size": 3, "day": "x", "colour": "blue", "rank": 2**53 + 1},
]


def data_frame() -> Asked:
    from registry.runtimes.models.estimators import EstimatorModel, EstimatorOptions

    fields = {
        "zip": {"dtype": "float", "keeps_integers": True},
        "size": {"dtype": "float", "nullable": True},
        "day": {"dtype": "str", "nullable": True, "required": False},
        "colour": {"dtype": "str", "categories": ["red", "blue"], "nullable": True},
        "rank": {"dtype": "int", "nullable": True},
    }
    signature = Signature.parse({"kind": "named", "fields": fields})
    return Asked(EstimatorModel(Shown(list(fields)), EstimatorOptions(), signature), FRAME_ROWS, signature)


def array() -> Asked:
    from registry.runtimes.models.estimators import EstimatorModel, EstimatorOptions

    signature = Signature.parse({"kind": "vector", "dtype": "str", "shape": [None], "nullable": True})
    rows: list[Any] = [["1"], ["1.0", None], [None, "2026-11-29"], [BAD, "x"], ["x", "y", "z"], ["ä", "b"]]
    return Asked(EstimatorModel(Shown(), EstimatorOptions(), signature), rows, signature)


def pipeline(runtime: str) -> Asked:
    """A pipeline of scikit-learn's that was fitted on integer zip codes, through the file of a runtime."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder
    from sklearn.tree import DecisionTreeRegressor

    frame = pd.DataFrame({"zip": [80331, 10115, 20095] * 4, "size": [1.0, None, 3.0] * 4, "day": ["a", None, "b"] * 4})
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    columns = ColumnTransformer([
        ("zip", OneHotEncoder(handle_unknown="error"), ["zip"]), ("size", SimpleImputer(), ["size"]),
        ("day", texts, ["day"]),
    ])  # fmt: skip
    model = make_pipeline(columns, DecisionTreeRegressor(random_state=0)).fit(frame, np.arange(12.0))
    fields = {
        "zip": {"dtype": "float", "keeps_integers": True},
        "size": {"dtype": "float", "nullable": True},
        "day": {"dtype": "str", "nullable": True},
    }
    rows: list[Any] = [
        {"zip": zip_code, "size": size, "day": day}
        for zip_code in (80331, 10115.0, 20095, 1.5)  # the last one is unknown, and fails its batch
        for size, day in ((1, "a"), (None, None), (2.5, "2026-11-29"))
    ]
    signature = Signature.parse({"kind": "named", "fields": fields})
    return Asked(stored(runtime, model, signature, trusted=["numpy.dtype", "sklearn.tree._tree.Tree"]), rows, signature)


def stored(name: str, model: Any, signature: Signature, **options: Any) -> Any:
    """Store a model and load it again."""
    from tempfile import TemporaryDirectory

    runtime = runtimes.get(name)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "artifact"
        path.write_bytes(runtime.dump(model))
        return runtime.load(path, options if name != "sklearn" else {}, signature)


def onnx_model() -> Asked:
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    places = {"id": kinds.INT64, "share": kinds.FLOAT, "name": kinds.STRING, "level": kinds.INT8}
    inputs = [helper.make_tensor_value_info(name, kind, [None]) for name, kind in places.items()]
    outputs = [helper.make_tensor_value_info(f"{name}_out", kind, [None]) for name, kind in places.items()]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in places]
    graph = helper.make_graph(nodes, "graph", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    fields: dict[str, Any] = {"id": "float", "share": "float", "name": "str", "level": "int"}
    signature = Signature.parse({"kind": "named", "fields": {name: {"dtype": each} for name, each in fields.items()}})
    rows: list[Any] = [
        {"id": 1234567890123456789, "share": 1, "name": "2026-11-29", "level": 1},
        {"id": 1.0, "share": 0.1, "name": "1", "level": -128},
        {"id": 1, "share": 16_777_217, "name": "", "level": 127},
        {"id": 2.5, "share": 1.0, "name": "no integer", "level": 0},
        {"id": 3, "share": 1e300, "name": "out of range", "level": 0},
        {"id": 4, "share": 1, "name": "out of range", "level": 128},
    ]
    return Asked(stored("onnx", model, signature), rows, signature)


def trees(library: str) -> Asked:
    """A classifier in the library's own format, fitted with gaps and with categories."""
    numbers = np.random.default_rng(1).random((60, 2))
    numbers[::7, 0] = np.nan
    frame = pd.DataFrame(numbers, columns=["size", "share"]).assign(rank=np.arange(60) % 5)
    frame["colour"] = pd.Categorical(np.array(["red", "blue", "green"])[np.arange(60) % 3])
    module: Any = pytest.importorskip(library)
    if library == "xgboost":
        model = module.XGBClassifier(n_estimators=5, n_jobs=1, enable_categorical=True)
    else:
        model = module.LGBMClassifier(n_estimators=5, n_jobs=1, min_child_samples=3, verbose=-1)
    model.fit(frame, (frame["rank"] + (frame["colour"] == "red") > 3).astype(int))
    fields = {
        "size": {"dtype": "float", "nullable": True, "required": False},
        "share": {"dtype": "float"},
        "rank": {"dtype": "int", "nullable": True},
        "colour": {"dtype": "str", "categories": ["red", "blue", "green", "black"], "nullable": True},
    }
    rows: list[Any] = [
        {"size": size, "share": share, "rank": rank, "colour": colour}
        for size, share in ((1, 0), (0.5, 1.0), (None, 1e-300))
        for rank, colour in ((3, "red"), (1, "black"), (None, None), (0, "green"), (4, "red"))
    ]
    # Two that no 64-bit float, and no 32-bit float, can hold.
    rows += [{"share": 1, "rank": 2**53 + 1, "colour": "red"}, {"share": 1e300, "rank": 4, "colour": "blue"}]
    signature = Signature.parse({"kind": "named", "fields": fields})
    return Asked(stored(library, model, signature, method="predict_proba"), rows, signature)


def mlflow_model() -> Asked:
    """What MLflow loads, without MLflow's own package around it: a model that has no signature of its own."""
    from registry.runtimes.mlflow import MlflowModel, MlflowOptions

    class Loaded(Shown):
        metadata = SimpleNamespace(
            get_input_schema=lambda: None, to_dict=lambda: {"is_signature_from_type_hint": False}, signature=None
        )

        def predict(self, given: Any, params: Any = None) -> list[str]:
            return super().predict(given)

    fields = {
        "zip": {"dtype": "float"},
        "size": {"dtype": "float", "nullable": True},
        "day": {"dtype": "str", "nullable": True, "required": False},
        "colour": {"dtype": "str", "nullable": True},
        "rank": {"dtype": "int", "nullable": True},
    }
    signature = Signature.parse({"kind": "named", "fields": fields})
    return Asked(MlflowModel(Loaded(), MlflowOptions(), signature), FRAME_ROWS, signature)


MODELS: dict[str, Callable[[], Asked]] = {
    "python": lambda: python(vectorized=False),
    "python-vectorized": lambda: python(vectorized=True),
    "sklearn-frame": data_frame,
    "sklearn-array": array,
    "sklearn-pipeline": lambda: pipeline("sklearn"),
    "skops-pipeline": lambda: pipeline("skops"),
    "onnx": onnx_model,
    "mlflow": mlflow_model,
    "xgboost": lambda: trees("xgboost"),
    "lightgbm": lambda: trees("lightgbm"),
}


@cache
def model_of(name: str) -> Asked:
    return MODELS[name]()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "skops-pipeline" else name for name in MODELS]
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_row_is_answered_in_every_batch_as_it_is_alone(name: str, data: st.DataObject) -> None:
    asked = model_of(name)
    places = st.integers(0, len(asked.pool) - 1)
    indexes = data.draw(st.lists(places, min_size=1, max_size=12))
    together = asked.together(indexes, data.draw(st.sampled_from([1, 3, 64])))
    assert together == [asked.alone(index) for index in indexes]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_some_rows_of_each_pool_fail_and_others_do_not(name: str) -> None:
    failures = {bool(model_of(name).alone(index)[1]) for index in range(len(model_of(name).pool))}
    assert failures == {True, False}
