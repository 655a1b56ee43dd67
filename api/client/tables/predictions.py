"""Predictions as columns: what is in objects gets the names of their members, joined by dots."""

from __future__ import annotations

from typing import Any

#: The column of a prediction that is no object.
PREDICTION = "prediction"
#: The column that says why a row has no prediction.
ERROR = "error"


def cells_of(prediction: Any) -> dict[str, Any]:
    """Return the cells of a prediction by the names of their columns; lists stay lists."""
    if not isinstance(prediction, dict) or not prediction:
        return {PREDICTION: prediction}
    found: dict[str, Any] = {}
    for name, value in prediction.items():
        if isinstance(value, dict) and value:
            found |= {f"{name}.{inner}": cell for inner, cell in cells_of(value).items()}
        else:
            found[name] = value
    return found


def message_of(error: Exception) -> str:
    """Return why a row has no prediction, without its number."""
    index = getattr(error, "index", None)
    return str(error).removeprefix(f"Input {index}: ")
