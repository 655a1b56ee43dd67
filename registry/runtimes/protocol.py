"""What a runtime is: how models of one kind are recognised, stored, loaded and asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from registry.signature import Signature


class Model(Protocol):
    """A loaded model."""

    def predict(self, rows: list[Any]) -> list[Any]:
        """Return one output, of JSON values, for each row; whatever it raises concerns the whole batch."""
        ...


class Runtime(Protocol):
    """One kind of model; the module that defines it imports ML libraries only inside these methods.

    To add one, add a module to `registry.runtimes` that has an instance as `RUNTIME`; the module's
    name is the runtime's name.
    """

    #: Distributions whose versions are noted when a model is registered.
    libraries: tuple[str, ...]

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options as they are stored. Raises RuntimeOptionsInvalid."""
        ...

    def recognizes(self, model: object) -> bool:
        """Tell whether a model that was registered without a runtime is one of this kind."""
        ...

    def dump(self, model: Any) -> bytes:
        """Return the artifact of a model."""
        ...

    def load(self, path: Path, options: Mapping[str, Any], signature: Signature) -> Model:
        """Load an artifact. Raises RuntimeUnavailable if an optional library is missing."""
        ...
