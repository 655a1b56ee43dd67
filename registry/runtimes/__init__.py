"""Runtimes by name: each module here with a `RUNTIME` is one; finding them imports no ML library."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from registry.errors import ModelLoadFailed, RegistryError, RuntimeUnknown
from registry.runtimes.failures import exceptions
from registry.runtimes.models import libraries
from registry.runtimes.protocol import Described, Model, RefinesSignatures, Runtime
from registry.signatures.layout import InputLayout

#: The runtime of models that no other runtime recognises.
FALLBACK = "python"


@lru_cache(maxsize=1)
def _all() -> Mapping[str, Runtime]:
    modules = {each.name: import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__)}
    return {name: module.RUNTIME for name, module in sorted(modules.items()) if hasattr(module, "RUNTIME")}


def names() -> list[str]:
    """Return the names of all runtimes."""
    return list(_all())


def libraries_here() -> dict[str, str]:
    """Return the versions of Python and of all runtimes' libraries that are installed."""
    return libraries.installed({each for runtime in _all().values() for each in runtime.libraries})


def stores_pickles(name: str) -> bool:
    """Whether artifacts of a runtime are pickles, which depend on the releases of Python and libraries."""
    runtime = _all().get(name)
    return runtime is not None and "cloudpickle" in runtime.libraries


def get(name: str) -> Runtime:
    """Return a runtime. Raises RuntimeUnknown."""
    try:
        return _all()[name]
    except (KeyError, TypeError) as error:
        raise RuntimeUnknown(str(name)[:100], names()) from error


def preload(modules: Iterable[str]) -> None:
    """Import the modules of `Runtime.preloaded` before processes are forked; skip those that can't be imported."""
    for module in modules:
        with suppress(Exception):  # loading a model raises it
            import_module(module)


def guess(model: object) -> str:
    """Return the name of the runtime for this model."""
    return next((name for name, runtime in _all().items() if runtime.recognizes(model)), FALLBACK)


def load(name: str, path: Path, options: Mapping[str, Any], signature: InputLayout) -> Model:
    """Load an artifact with a verified checksum. Loading may run code of the artifact.

    Raises:
        RuntimeUnknown, RuntimeUnavailable, RuntimeOptionsInvalid: the runtime or its options can't be used.
        ModelLoadFailed: loading raised an exception; the message contains its type and text.
    """
    runtime = get(name)
    with _loading():
        return runtime.load(path, runtime.check_options(options), signature)


def refined(name: str, artifact: bytes, options: Mapping[str, Any], signature: Described) -> Described:
    """Return the signature with details of the model's own inputs, if its runtime can read them.

    Raises:
        RuntimeUnknown, RuntimeUnavailable, RuntimeOptionsInvalid, ModelLoadFailed: like `load`.
    """
    runtime = get(name)
    if not isinstance(runtime, RefinesSignatures):
        return signature
    with _loading():
        return runtime.refined(artifact, runtime.check_options(options), signature)


@contextmanager
def _loading() -> Iterator[None]:
    try:
        yield
    except RegistryError:
        raise
    except Exception as error:
        flat = exceptions.type_and_message(error)
        raise ModelLoadFailed(
            f"The model can't be loaded: {flat['type']}: {flat['message']}{exceptions.remedy(error)}"
        ) from error
