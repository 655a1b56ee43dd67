"""How files of models in formats of their own begin."""

from __future__ import annotations

import re

#: XGBoost's JSON and UBJSON, which stores the length of a name before it.
XGBOOST = re.compile(rb'\s*\{\s*"(learner|version)"\s*:|\{[iUIlL]\x00*\x07(learner\{|version\[)')
#: CatBoost's own format, cbm.
CATBOOST = re.compile(rb"CBM1")
#: LightGBM's text.
LIGHTGBM = re.compile(rb"tree\r?\nversion=v\d")
