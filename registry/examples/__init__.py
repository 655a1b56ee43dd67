"""Example models, built from data sets that scikit-learn ships: the same model on every build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

#: In the order of registration.
NAMES = ("binary_classifier", "quadratic_predictor", "digits_classifier")


@dataclass(frozen=True)
class Example:
    """A fitted model, with the data to register it and to check its predictions."""

    name: str
    model: Any
    input_example: Any
    #: Every row of the real data set, as JSON inputs.
    rows: list[Any]
    runtime: str
    runtime_options: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


def build(name: str) -> Example:
    """Fit an example, which takes up to a second or two; it is one of `NAMES`."""
    if name not in NAMES:
        raise ValueError(f"There is no example {name!r}; there are {', '.join(NAMES)}.")
    example: Example = import_module(f"{__name__}.{name}").build()
    return example
