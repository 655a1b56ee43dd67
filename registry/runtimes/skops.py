"""Runtime `skops`: scikit-learn models stored without arbitrary code; requires the library skops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from registry.errors import ModelLoadFailed, RuntimeUnavailable
from registry.runtimes.models.estimators import ESTIMATOR_MODULES, EstimatorModel, EstimatorOptions
from registry.runtimes.options import option, texts
from registry.signatures.layout import InputLayout


@dataclass(frozen=True)
class SkopsOptions(EstimatorOptions):
    """The method to call, and the trusted types."""

    #: Types to trust in addition to those that skops trusts, e.g. `sklearn.tree._tree.Tree`, `my_module.MyTransformer`.
    trusted: list[str] = option(texts(100), default_factory=list)


class SkopsRuntime:
    """Stores and loads with skops, which creates only objects of trusted types."""

    libraries: tuple[str, ...] = ("scikit-learn", "numpy", "skops")
    preloaded: tuple[str, ...] = (*ESTIMATOR_MODULES, "skops.io")

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return checked options in the form that is stored. Raises RuntimeOptionsInvalid."""
        return SkopsOptions.checked(options)

    def recognizes(self, model: object) -> bool:  # noqa: ARG002 - the protocol's
        """Return False: this runtime must be requested by name."""
        return False

    def dump(self, model: Any) -> bytes:
        """Return the estimator in skops' format. Raises RuntimeUnavailable without skops."""
        stored: bytes = _library().dumps(model)
        return stored

    def load(self, path: Path, options: Mapping[str, Any], signature: InputLayout) -> EstimatorModel:
        """Load an estimator.

        Raises:
            RuntimeUnavailable: skops is not installed.
            ModelLoadFailed: it contains types that are not trusted; the message names them.
        """
        library, chosen = _library(), SkopsOptions.parse(options)
        strange = sorted(set(library.get_untrusted_types(file=path)) - set(chosen.trusted))
        if strange:
            raise ModelLoadFailed(
                f"The model contains types that are not trusted: {', '.join(strange)}. "
                "If you do trust them, add them to the runtime option `trusted`."
            )
        return EstimatorModel(library.load(path, trusted=chosen.trusted), chosen, signature)


def _library() -> ModuleType:
    try:
        import skops.io
    except ModuleNotFoundError as error:
        raise RuntimeUnavailable("skops", "skops") from error
    library: ModuleType = skops.io
    return library


RUNTIME = SkopsRuntime()
