"""Runtime `catboost`: models in CatBoost's own format, cbm, which contains no code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from registry.errors import ModelLoadFailed, RuntimeUnavailable
from registry.runtimes.inputs.features import FeatureRows, Features
from registry.runtimes.models import threads, trees
from registry.runtimes.models.trees import Scores, TreeModel, TreeOptions
from registry.runtimes.options import Options, one_of, option
from registry.runtimes.outputs import names_of, rows_to_json
from registry.runtimes.storage import formats
from registry.signatures.layout import InputLayout

_SEVERAL_LABELS = {"MultiLogloss", "MultiCrossEntropy"}


@dataclass(frozen=True)
class CatboostOptions(Options):
    """What to answer; the file contains the names of the classes."""

    method: str = option(one_of("predict", "predict_proba", "raw"), "predict")


class CatboostRuntime:
    """Stores and loads cbm with CatBoost."""

    libraries: tuple[str, ...] = ("catboost", "numpy")
    #: CatBoost starts a thread when it is imported, which no fork has: each host imports it itself.
    preloaded: tuple[str, ...] = ("numpy", "pandas")

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return checked options in the form that is stored. Raises RuntimeOptionsInvalid."""
        return CatboostOptions.checked(options)

    def recognizes(self, model: object) -> bool:
        """Whether it is a model of CatBoost, also one of its estimators."""
        return any((each.__module__, each.__name__) == ("catboost.core", "CatBoost") for each in type(model).__mro__)

    def dump(self, model: Any) -> bytes:
        """Return a model as cbm; a file as it is."""
        if isinstance(model, (bytes, bytearray)):
            return bytes(model)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.cbm"
            model.save_model(str(path), format="cbm")
            return path.read_bytes()

    def load(self, path: Path, options: Mapping[str, Any], signature: InputLayout) -> TreeModel:
        """Load a model.

        Raises:
            RuntimeUnavailable: CatBoost is not installed.
            ModelLoadFailed: the file is no model in this format, or the signature or the options don't match it.
        """
        library, chosen = _library(), CatboostOptions.parse(options)
        with path.open("rb") as file:
            if formats.CATBOOST.match(file.read(4)) is None:
                raise ModelLoadFailed("The file is no CatBoost model. Save it by save_model() in the format cbm.")
        try:
            # This class chooses the form of values by the loss, e.g. for Poisson's. For labels it is told.
            model = library.CatBoostRegressor().load_model(str(path))
        except library.CatBoostError as error:
            raise ModelLoadFailed(f"The file is a damaged model of CatBoost: {error}") from error
        return _model(model, FeatureRows(_features(model), signature), chosen)


def _features(model: Any) -> Features:
    if model.get_text_feature_indices() or model.get_embedding_feature_indices():
        raise ModelLoadFailed("The model has features of text or embeddings; only numbers and categories are served.")
    names = model.feature_names_
    is_named = names != list(map(str, range(len(names))))
    categories = frozenset(model.get_cat_feature_indices())
    return Features(len(names), names if is_named else None, plain_categories=categories)


def _model(model: Any, rows: FeatureRows, options: CatboostOptions) -> TreeModel:
    loss = str(model.get_all_params().get("loss_function", "")).partition(":")[0]
    classes = rows_to_json(model.classes_, len(model.classes_))

    def scored(kind: str | None, features: Any) -> Scores:
        return model.predict(features, prediction_type=kind, thread_count=threads.allowed())

    if options.method == "raw" or not classes:
        answers = trees.values(TreeOptions(method=options.method), loss)
        kind = "RawFormulaVal" if options.method == "raw" else None
        return TreeModel(lambda features: scored(kind, features), rows, answers)
    if options.method == "predict":
        return TreeModel(lambda features: scored("Class", features), rows, _labels)
    names = names_of(classes, "classes_")

    def probabilities(features: Any) -> Scores:
        # The library decides the label: a model may have another threshold than 0.5.
        return scored("Probability", features), None if loss in _SEVERAL_LABELS else scored("Class", features)

    def documents(scores: Scores, row_count: int) -> list[Any]:
        numbers, labels = scores
        found = [{"probabilities": dict(zip(names, row))} for row in rows_to_json(numbers, row_count)]
        if labels is None:
            return found
        return [{"label": label, **each} for label, each in zip(_labels(labels, row_count), found)]

    return TreeModel(probabilities, rows, documents)


def _labels(scores: Scores, row_count: int) -> list[Any]:
    is_column = scores.ndim > 1 and scores.shape[1] == 1
    return rows_to_json(scores[:, 0] if is_column else scores, row_count)


def _library() -> ModuleType:
    try:
        import catboost
    except ModuleNotFoundError as error:
        raise RuntimeUnavailable("catboost", "catboost" if error.name == "catboost" else str(error.name)) from error
    library: ModuleType = catboost
    return library


RUNTIME = CatboostRuntime()
