"""Checks categories for libraries that require the categorical columns of their fit."""

from __future__ import annotations

from typing import Any

from registry.errors import ModelLoadFailed
from registry.signatures.layout import InputLayout

_CATEGORICAL_IN_XGBOOST = "c"
CATEGORIES_REQUIRED = (
    "The model was fitted on columns of pandas' dtype category. Name their categories, in the order of "
    'the fit, in the signature: {"kind": "named", "fields": {"colour": {"dtype": "str", "categories": '
    '["red", "blue"]}, …}}; or register it from Python with the data frame as the input_example.'
)


def check_categories(estimator: Any, signature: InputLayout) -> None:
    """Check that a signature has the categories that LightGBM and XGBoost require in a data frame.

    Raises:
        ModelLoadFailed: the model was fitted on columns of pandas' dtype category, and no field has categories.
    """
    fields = (signature.fields or {}).values()
    if _was_fitted_on_categories(estimator) and not any(each.categories for each in fields):
        raise ModelLoadFailed(CATEGORIES_REQUIRED)


def _was_fitted_on_categories(estimator: Any) -> bool:
    library = type(estimator).__module__.partition(".")[0]
    if library == "lightgbm":
        return bool(getattr(getattr(estimator, "booster_", None), "pandas_categorical", None))
    if library == "xgboost":
        return _CATEGORICAL_IN_XGBOOST in (getattr(estimator.get_booster(), "feature_types", None) or ())
    return False
