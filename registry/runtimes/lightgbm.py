"""Runtime `lightgbm`: models in LightGBM's own text format, which contains no code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from registry.errors import ModelLoadFailed, RuntimeUnavailable
from registry.runtimes.inputs.features import FeatureRows, Features
from registry.runtimes.models import trees
from registry.runtimes.models.trees import Answering, Scores, TreeModel, TreeOptions
from registry.runtimes.storage import formats
from registry.signatures.layout import InputLayout

_HEADER_ENDS, _TREES_END = b"\n\n", b"end of trees\n"
#: Objectives of classifiers, the first word of the header's line.
_OF_CLASSES = {"binary", "multiclass", "multiclassova"}
#: The name of a feature that was fitted without names.
_UNNAMED = "Column_{}"


class LightgbmRuntime:
    """Stores and loads LightGBM's text."""

    libraries: tuple[str, ...] = ("lightgbm", "numpy")
    #: It starts no thread of OpenMP when it is imported, so that a fork is safe.
    preloaded: tuple[str, ...] = ("numpy", "lightgbm")

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return checked options in the form that is stored. Raises RuntimeOptionsInvalid."""
        return TreeOptions.checked(options)

    def recognizes(self, model: object) -> bool:
        """Whether it is a booster of LightGBM; its estimators are of the runtime sklearn by default."""
        return any((each.__module__, each.__name__) == ("lightgbm.basic", "Booster") for each in type(model).__mro__)

    def dump(self, model: Any) -> bytes:
        """Return a booster, or that of an estimator, as text, up to its best iteration; a file as it is.

        Raises:
            ModelLoadFailed: the estimator's classes are not 0, 1, …, and the text would not contain them.
        """
        if isinstance(model, (bytes, bytearray)):
            return bytes(model)
        classes = getattr(model, "classes_", None)
        if classes is not None and list(classes) != list(range(len(classes))):
            raise ModelLoadFailed(
                "LightGBM's text doesn't contain the model's classes: register model.booster_ with the runtime option "
                f'"classes": {[each.item() if hasattr(each, "item") else each for each in classes]}.'
            )
        text: str = getattr(model, "booster_", model).model_to_string()
        return text.encode()

    def load(self, path: Path, options: Mapping[str, Any], signature: InputLayout) -> TreeModel:
        """Load a model.

        Raises:
            RuntimeUnavailable: LightGBM is not installed.
            ModelLoadFailed: the file is no model in this format, or the signature or the options don't match it.
        """
        library, chosen = _library(), TreeOptions.parse(options)
        content = path.read_bytes()
        if formats.LIGHTGBM.match(content) is None:
            raise ModelLoadFailed("The file is no LightGBM model in text form. Save it by Booster.save_model().")
        content = content.replace(b"\r\n", b"\n")
        header = _header(content)
        booster = library.Booster(model_str=content.decode())
        rows = FeatureRows(_features(booster), signature)
        return TreeModel(_scoring(booster, chosen), rows, _answers(header, chosen))


def _header(content: bytes) -> Mapping[str, str]:
    """Return the fields before the trees.

    LightGBM would read beyond the end of a file that is cut off, so the line `tree_sizes`, the length of each tree in
    bytes, is compared with the trees.

    Raises:
        ModelLoadFailed: the file is cut off or damaged.
    """
    header, _, rest = content.partition(_HEADER_ENDS)
    fields = dict(line.split("=", 1) for line in header.decode().splitlines() if "=" in line)
    sizes = fields.get("tree_sizes", "none").split()
    if not all(map(str.isdecimal, sizes)) or sum(map(int, sizes)) != rest.find(_TREES_END):
        raise ModelLoadFailed("The file is a damaged LightGBM model, or cut off: its trees lack the stated length.")
    return fields


def _features(booster: Any) -> Features:
    names = booster.feature_name()
    is_named = names != [_UNNAMED.format(place) for place in range(len(names))]
    return Features(booster.num_feature(), names if is_named else None, booster.pandas_categorical or ())


def _scoring(booster: Any, options: TreeOptions) -> Any:
    def score(features: Any) -> Scores:
        return booster.predict(features, raw_score=options.method == "raw", validate_features=False)

    return score


def _answers(header: Mapping[str, str], options: TreeOptions) -> Answering:
    objective = header.get("objective", "").partition(" ")[0]
    if objective not in _OF_CLASSES:
        return trees.values(options, objective or "a function of its own")
    return trees.one_class(options, max(int(header["num_class"]), 2))


def _library() -> ModuleType:
    try:
        import lightgbm
    except ModuleNotFoundError as error:
        raise RuntimeUnavailable("lightgbm", "lightgbm" if error.name == "lightgbm" else str(error.name)) from error
    library: ModuleType = lightgbm
    return library


RUNTIME = LightgbmRuntime()
