"""How files of models in formats of their own begin."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: XGBoost's JSON and UBJSON, which stores the length of a name before it.
XGBOOST = re.compile(rb'\s*\{\s*"(learner|version)"\s*:|\{[iUIlL]\x00*\x07(learner\{|version\[)')
#: CatBoost's own format, cbm.
CATBOOST = re.compile(rb"CBM1")
#: LightGBM's text.
LIGHTGBM = re.compile(rb"tree\r?\nversion=v\d")
#: The two kinds of PyTorch's programs.
TORCHSCRIPT, TORCH_EXPORT = "TorchScript", "torch.export"


def program_of_torch(names: Iterable[str]) -> str | None:
    """Return the kind of program in an archive with these names, or None."""
    parts = {name.partition("/")[2] for name in names}
    if "constants.pkl" in parts and any(each.startswith("code/") for each in parts):
        return TORCHSCRIPT
    return TORCH_EXPORT if {"archive_format", "models/model.json"} <= parts else None
