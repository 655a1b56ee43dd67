"""A data frame as the input example, and estimators that want its categories back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

from registry.errors import ModelLoadFailed, SignatureInvalid
from registry.runtimes.models.estimators import EstimatorModel, EstimatorOptions
from registry.signatures import data_frames
from registry.signatures.signature import Signature
from tests.registry.conftest import RoundTrip

COLOURS = ["red", "green", "blue"]


def test_columns_show_dtypes_bounds_categories_and_where_values_are_missing() -> None:
    frame = pd.DataFrame({
        "zip": [80331, 10115],
        "rank": np.array([1, 2], dtype="int8"),
        "size": [52.5, np.nan],
        "share": np.array([0.5, 1.5], dtype="float32"),
        "paid": [True, False],
        "name": ["Ada", None],
        "colour": pd.Categorical(["blue", None], categories=COLOURS),
        "grade": pd.Categorical([3, 1], categories=[3, 1]),
        "age": pd.array([42, None], dtype="Int64"),
    })  # fmt: skip
    document, example = data_frames.described(frame)
    assert example == {
        "zip": 80331, "rank": 1, "size": 52.5, "share": 0.5, "paid": True, "name": "Ada", "colour": "blue",
        "grade": 3, "age": 42,
    }  # fmt: skip
    assert document["fields"] == {
        "zip": {"dtype": "int"},
        "rank": {"dtype": "int", "storage": "int8"},
        "size": {"dtype": "float", "nullable": True},
        "share": {"dtype": "float", "storage": "float32"},
        "paid": {"dtype": "bool"},
        "name": {"dtype": "str", "nullable": True},
        "colour": {"dtype": "str", "categories": COLOURS, "nullable": True},
        "grade": {"dtype": "int", "categories": [3, 1]},
        "age": {"dtype": "int", "nullable": True},
    }
    Signature.parse(document).check(example)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"a": []}), "no row"),
        (pd.DataFrame({"when": pd.to_datetime(["2026-11-29"])}), "'when' .* contains Timestamp"),
        (pd.DataFrame({"mixed": ["a", 1]}), "'mixed' .* contains int, str"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns of the same name"),
        (pd.DataFrame({"gone": [None]}), "'gone' .* contains nothing"),
    ],
)
def test_a_frame_that_no_signature_can_say_is_refused_with_its_column(frame: Any, words: str) -> None:
    with pytest.raises(SignatureInvalid, match=words):
        data_frames.described(frame)


@pytest.mark.slow
def test_a_model_is_registered_with_the_frame_that_it_was_fitted_on(round_trip: RoundTrip) -> None:
    frame, labels = coloured()
    model = HistGradientBoostingClassifier(categorical_features="from_dtype").fit(frame, labels)
    loaded = round_trip(model, input_example=frame)
    assert loaded.predict(rows_of(frame)) == model.predict(frame).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_categories_reach_a_model_as_it_was_fitted_on_them(library: str) -> None:
    model = boosted(library)
    frame, labels = coloured()
    model.fit(frame, labels)
    document, _ = data_frames.described(frame)
    served = EstimatorModel(model, EstimatorOptions(method="predict_proba"), Signature.parse(document))
    answers = served.predict(rows_of(frame))
    expected = model.predict_proba(frame)
    assert [list(answer["probabilities"].values()) for answer in answers] == expected.tolist()
    assert [served.predict([row]) for row in rows_of(frame)[:9]] == [[answer] for answer in answers[:9]]


@pytest.mark.slow
@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_a_signature_without_the_categories_is_refused_with_the_remedy(library: str) -> None:
    frame, labels = coloured()
    model = boosted(library).fit(frame, labels)
    with pytest.raises(ModelLoadFailed, match="Name their categories, in the order of the fit, in the signature"):
        EstimatorModel(model, EstimatorOptions(), Signature.from_example({"body colour": "red", "size": 1.5}))


def boosted(library: str) -> Any:
    if library == "lightgbm":
        from lightgbm import LGBMClassifier

        return LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1)
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=5, n_jobs=1, enable_categorical=True)


def coloured() -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    colours, sizes = generator.choice(np.array([*COLOURS, None], dtype=object), 200), generator.normal(size=200)
    sizes[::20] = np.nan
    frame = pd.DataFrame({"body colour": pd.Categorical(colours, categories=COLOURS), "size": sizes})
    return frame, ((colours == "blue") | (sizes > 1)).astype(int)


def rows_of(frame: Any) -> list[dict[str, Any]]:
    """The rows as JSON has them: null for what is missing, and whole numbers as integers where they were such."""
    rows = frame.to_dict("records")
    return [{name: _json(name, each) for name, each in row.items()} for row in rows]


def _json(name: str, value: Any) -> Any:
    if pd.isna(value):
        return None
    return int(value) if name == "visits" else value


@pytest.mark.parametrize("missing", ["nan", "none"])
def test_what_is_missing_is_filled_in_as_the_pipeline_itself_does(round_trip: RoundTrip, missing: str) -> None:
    none = np.nan if missing == "nan" else None
    frame = pd.DataFrame({
        "age": [20.0, np.nan, 40.0, 60.0],
        "visits": pd.Series([1, 2, np.nan, 3]),
        "city": pd.Series(["Ulm", none, "Ulm", "Bonn"], dtype=None if missing == "nan" else object),
        "paid": pd.Series([True, False, none, True], dtype=object),
    })  # fmt: skip
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = make_pipeline(SimpleImputer(strategy="most_frequent", missing_values=none), OneHotEncoder())
    columns = ColumnTransformer([("numbers", numbers, ["age", "visits"]), ("texts", texts, ["city", "paid"])])
    model = make_pipeline(columns, DecisionTreeRegressor(random_state=0)).fit(frame, [1.0, 2.0, 3.0, 4.0])
    example = {"age": None, "visits": 2, "city": None, "paid": None}
    fields = {"age": "float", "visits": "int", "city": "str", "paid": "bool"}
    signature = {
        "kind": "named",
        "fields": {name: {"dtype": each, "nullable": True, "required": False} for name, each in fields.items()},
    }
    options = {"missing": missing}
    loaded = round_trip(model, input_example=example, signature=signature, runtime_options=options)
    rows = rows_of(frame)
    assert loaded.predict(rows) == model.predict(frame).tolist() == [1.0, 2.0, 3.0, 4.0]
    sparse = [{name: each for name, each in row.items() if each is not None} for row in rows]
    assert loaded.predict(sparse) == [1.0, 2.0, 3.0, 4.0]


def test_a_series_is_one_row() -> None:
    frame = pd.DataFrame({"size": [52, 48], "city": ["Ulm", "Bonn"], "paid": [True, False]})
    assert data_frames.row_of(frame.iloc[0]) == {"size": 52, "city": "Ulm", "paid": True}
    assert data_frames.row_of([1, 2]) == [1, 2]


def by_name() -> Any:
    frame = pd.DataFrame({"size": [52.5, 48.0, 80.0], "city": ["Ulm", "Bonn", "Ulm"]})
    columns = ColumnTransformer([("city", OneHotEncoder(), ["city"]), ("size", StandardScaler(), ["size"])])
    return make_pipeline(columns, DecisionTreeRegressor()).fit(frame, [1, 2, 3])


def test_a_model_that_selects_columns_by_name_says_in_a_sentence_that_it_needs_pandas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document = {"kind": "named", "fields": {"size": {"dtype": "float"}, "city": {"dtype": "str"}}}
    signature = Signature.parse(document)
    assert len(EstimatorModel(by_name(), EstimatorOptions(), signature).predict([{"size": 50.0, "city": "Ulm"}])) == 1
    monkeypatch.setattr("registry.runtimes.inputs.rows.find_spec", lambda _name: None)
    with pytest.raises(ModelLoadFailed, match=r"by name \(city, size\).* pandas is not installed"):
        EstimatorModel(by_name(), EstimatorOptions(), signature)
    vector = Signature.parse({"kind": "vector", "dtype": "float", "shape": [1]})
    by_place = make_pipeline(ColumnTransformer([("size", StandardScaler(), [0])]), DecisionTreeRegressor())
    assert EstimatorModel(by_place.fit([[1.0], [2.0]], [1, 2]), EstimatorOptions(), vector).predict([[1.0]]) == [1]
