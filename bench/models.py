"""The two models that every system serves: one of overhead alone, and one of real work."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

QUADRATIC, FOREST, SMALL = "quadratic", "forest", "small"
#: Every process of every system: threads that numerical libraries may use.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_TREES, _FEATURES, _ROWS = 100, 20, 2_000


@dataclass(frozen=True)
class BenchModel:
    """A fitted model and one input of it."""

    name: str
    model: Any
    row: Any
    #: Queuecast's word for what runs it.
    runtime: str

    def body(self, rows: int | None = None) -> bytes:
        """Return the JSON of a request: one input, or a list of so many."""
        return json.dumps({"input": self.row} if rows is None else {"inputs": [self.row] * rows}).encode()


@lru_cache(maxsize=1)
def all_models() -> dict[str, BenchModel]:
    """Fit the models, in a second or two."""
    import numpy as np
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    from registry.examples.quadratic_predictor import Quadratic

    features, labels = make_classification(_ROWS, _FEATURES, n_informative=10, random_state=0)
    row = [round(float(value), 6) for value in np.asarray(features[0])]
    forest = RandomForestClassifier(n_estimators=_TREES, n_jobs=1, random_state=0).fit(features, labels)
    small = LogisticRegression(max_iter=1_000).fit(features, labels)
    found = [
        BenchModel(QUADRATIC, Quadratic(-0.02, 0.54, -0.4), 2.5, "python"),
        BenchModel(FOREST, forest, row, "sklearn"),
        BenchModel(SMALL, small, row, "sklearn"),
    ]
    return {each.name: each for each in found}


def model_of(endpoint_name: str) -> BenchModel:
    """Return the model of an endpoint: `forest` is served by `forest`, and `forest-8` too."""
    return all_models()[endpoint_name.partition("-")[0]]


def write_pickles(folder: Path) -> Path:
    """Write each model where the baselines load it from; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, each in all_models().items():
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(each.model))
    return folder
