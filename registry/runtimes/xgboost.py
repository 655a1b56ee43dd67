"""Runtime `xgboost`: models in XGBoost's own formats, JSON and UBJSON, which contain no code."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from registry.errors import ModelLoadFailed, RuntimeUnavailable
from registry.runtimes.inputs.features import Category, FeatureRows, Features
from registry.runtimes.models import devices, trees
from registry.runtimes.models.trees import Answering, Scores, TreeModel, TreeOptions
from registry.runtimes.options import number_or_null, option
from registry.runtimes.storage import formats
from registry.signatures.layout import InputLayout
from registry.signatures.number_types import Storage

#: Objectives of classifiers.
_OF_CLASSES = {"binary:logistic", "binary:hinge", "multi:softmax", "multi:softprob"}
#: Set by XGBoost's estimators in their files.
_OF_ESTIMATOR, _BEST = "scikit_learn", "best_iteration"
_CATEGORICAL = "c"
#: The time and the line of XGBoost's source that begin its errors.
_SOURCE = re.compile(r"^\[[\d:]+\] \S+: ")


@dataclass(frozen=True)
class XgboostOptions(TreeOptions):
    """What to answer, and which number of an input is a missing value."""

    #: The number that the fit took as a missing value, which files don't contain; null is always missing.
    missing: float | None = option(number_or_null, None)


class XgboostRuntime:
    """Stores UBJSON, and loads JSON and UBJSON, with XGBoost."""

    libraries: tuple[str, ...] = ("xgboost", "xgboost-cpu", "numpy")
    #: It starts no thread of OpenMP when it is imported, so that a fork is safe.
    preloaded: tuple[str, ...] = ("numpy", "xgboost")

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return checked options in the form that is stored. Raises RuntimeOptionsInvalid."""
        return XgboostOptions.checked(options)

    def recognizes(self, model: object) -> bool:
        """Whether it is a booster of XGBoost; its estimators are of the runtime sklearn by default."""
        return any((each.__module__, each.__name__) == ("xgboost.core", "Booster") for each in type(model).__mro__)

    def dump(self, model: Any) -> bytes:
        """Return a booster, or that of an estimator, as UBJSON, with what the estimator adds; a file as it is."""
        if isinstance(model, (bytes, bytearray)):
            return bytes(model)
        missing = getattr(model, "missing", None)
        if missing is not None and not isnan(missing):
            raise ModelLoadFailed(
                f"The model takes {missing} as missing, which XGBoost's formats don't contain: register "
                f'model.get_booster() with the runtime option "missing": {missing}.'
            )
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.ubj"
            model.save_model(path)
            return path.read_bytes()

    def load(self, path: Path, options: Mapping[str, Any], signature: InputLayout) -> TreeModel:
        """Load a model.

        Raises:
            RuntimeUnavailable: XGBoost is not installed.
            ModelLoadFailed: the file is no model in these formats, or the signature or the options don't match it.
        """
        library, chosen = _library(), XgboostOptions.parse(options)
        content = path.read_bytes()
        if formats.XGBOOST.match(content) is None:
            raise ModelLoadFailed(
                "The file is no XGBoost model in JSON or UBJSON. Save it by save_model() with a name that ends with "
                ".json or .ubj."
            )
        try:
            booster = library.Booster(model_file=bytearray(content))
        except library.core.XGBoostError as error:
            reason = _SOURCE.sub("", str(error).partition("\n")[0])
            raise ModelLoadFailed(f"The file is a damaged model of XGBoost: {reason}") from error
        if devices.has_gpu() and library.build_info().get("USE_CUDA"):
            booster.set_param({"device": "cuda"})
        learner = json.loads(booster.save_config())["learner"]
        rows = FeatureRows(_features(booster), signature)
        answers = _answers(booster, learner, chosen)
        return TreeModel(_Scoring(library, booster, learner["gradient_booster"]["name"], chosen), rows, answers)


class _Scoring:
    """Calls a booster."""

    def __init__(self, library: ModuleType, booster: Any, booster_kind: str, options: XgboostOptions) -> None:
        self._library = library
        self._booster = booster
        self._has_trees = booster_kind != "gblinear"
        self._is_raw = options.method == "raw"
        self._missing = float("nan") if options.missing is None else options.missing
        attributes = booster.attributes()
        # Estimators predict up to their best iteration, and boosters with all iterations.
        is_best_used = self._has_trees and {_OF_ESTIMATOR, _BEST} <= attributes.keys()
        self._iterations = (0, int(attributes[_BEST]) + 1) if is_best_used else (0, 0)

    def __call__(self, features: Any) -> Scores:
        if self._has_trees:
            kind = "margin" if self._is_raw else "value"
            return self._booster.inplace_predict(
                features, iteration_range=self._iterations, predict_type=kind, missing=self._missing
            )
        matrix = self._library.DMatrix(features, missing=self._missing)
        return self._booster.predict(matrix, output_margin=self._is_raw, validate_features=False)


def _features(booster: Any) -> Features:
    kinds = booster.feature_types or ()
    categorical = [place for place, kind in enumerate(kinds) if kind == _CATEGORICAL]
    categories: list[Sequence[Category] | None] = []
    if categorical:
        # None for a column that was fitted as numbers.
        stored = [each for _, each in booster.get_categories(export_to_arrow=True).to_arrow()]
        categories = [None if stored[place] is None else stored[place].to_pylist() for place in categorical]
    return Features(booster.num_features(), booster.feature_names, categories, storage=Storage.FLOAT32)


def _answers(booster: Any, learner: Mapping[str, Any], options: XgboostOptions) -> Answering:
    objective = learner["objective"]["name"]
    described = learner["learner_model_param"]
    class_count, target_count = int(described["num_class"]), int(described.get("num_target", 1))
    if objective not in _OF_CLASSES:
        return trees.values(options, objective)
    if target_count > 1:
        return trees.several_labels(options, target_count)
    if objective == "multi:softmax":
        booster.set_param({"objective": "multi:softprob"})  # the same trees, with probabilities in place of labels
    return trees.one_class(options, max(class_count, 2))


def _library() -> ModuleType:
    try:
        import xgboost
    except ModuleNotFoundError as error:
        raise RuntimeUnavailable("xgboost", "xgboost" if error.name == "xgboost" else str(error.name)) from error
    library: ModuleType = xgboost
    return library


RUNTIME = XgboostRuntime()
