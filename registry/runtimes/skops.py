"""Runtime `skops`: scikit-learn models stored without arbitrary code; needs the library skops."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import Field

from registry.errors import ModelLoadFailed, RuntimeUnavailable
from registry.runtimes.estimators import EstimatorModel, EstimatorOptions
from registry.signature import Signature


class SkopsOptions(EstimatorOptions):
    """Which answer is wanted, and what may be loaded."""

    #: Types beside those that skops trusts, e.g. `sklearn.tree._tree.Tree`, `my_module.MyTransformer`.
    trusted: list[str] = Field(default_factory=list, max_length=100)


class SkopsRuntime:
    """Stores and loads with skops, which makes only objects of trusted types."""

    libraries: tuple[str, ...] = ("scikit-learn", "numpy", "skops")

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options as they are stored. Raises RuntimeOptionsInvalid."""
        return SkopsOptions.checked(options)

    def recognizes(self, model: object) -> bool:  # noqa: ARG002 - the protocol's
        """Tell nothing: who wants it names it."""
        return False

    def dump(self, model: Any) -> bytes:
        """Return the estimator as skops writes it. Raises RuntimeUnavailable without skops."""
        stored: bytes = _library().dumps(model)
        return stored

    def load(self, path: Path, options: Mapping[str, Any], signature: Signature) -> EstimatorModel:
        """Load an estimator.

        Raises:
            RuntimeUnavailable: skops is not installed.
            ModelLoadFailed: it holds types that are not trusted; names them.
        """
        library, chosen = _library(), SkopsOptions.parse(options)
        strange = sorted(set(library.get_untrusted_types(file=path)) - set(chosen.trusted))
        if strange:
            raise ModelLoadFailed(
                f"The model holds types that are not trusted: {', '.join(strange)}. "
                "If you do trust them, name them in the runtime option `trusted`."
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
