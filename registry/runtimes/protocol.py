"""The interface of runtimes, which recognise, store, load and call models of one kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from registry.signatures.layout import InputLayout


class DescribedInput(InputLayout, Protocol):
    """A signature: a layout that can be written and read."""

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        ...

    @classmethod
    def parse(cls: type[Described], document: Mapping[str, Any]) -> Described:  # noqa: PYI019 - Self came with 3.11
        """Read a document. Raises SignatureInvalid."""
        ...


Described = TypeVar("Described", bound=DescribedInput)


class Model(Protocol):
    """A loaded model."""

    def predict(self, rows: list[Any]) -> list[Any]:
        """Return one JSON output for each row; an exception concerns the whole batch."""
        ...


class Runtime(Protocol):
    """One kind of model; the module that defines it imports ML libraries only inside these methods.

    Model hosts load it, which may run any Python from 3.9 on, and have the standard library and the libraries of their
    models alone: so it imports nothing else, and needs no later Python.

    To add one, add a module to `registry.runtimes` that has an instance as `RUNTIME`; the module's
    name is the runtime's name.
    """

    #: Distributions whose versions are recorded when a model is registered.
    libraries: tuple[str, ...]
    #: Modules to import before forking processes that load models of this kind.
    preloaded: tuple[str, ...]

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return checked options in the form that is stored. Raises RuntimeOptionsInvalid."""
        ...

    def recognizes(self, model: object) -> bool:
        """Whether a model that is registered without a runtime is of this kind."""
        ...

    def dump(self, model: Any) -> bytes:
        """Return the artifact of a model."""
        ...

    def load(self, path: Path, options: Mapping[str, Any], signature: InputLayout) -> Model:
        """Load an artifact. Raises RuntimeUnavailable if an optional library is missing."""
        ...


@runtime_checkable
class RefinesSignatures(Protocol):
    """A runtime whose models describe their own inputs."""

    def refined(self, artifact: bytes, options: Mapping[str, Any], signature: Described) -> Described:
        """Return a signature with details of the model, such as bounds of numbers. Raises like `load`."""
        ...
