"""Runtimes by name: each module here that has a `RUNTIME` is one; no ML library is loaded to find them."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from registry.errors import ModelLoadFailed, RegistryError, RuntimeUnknown
from registry.runtimes.protocol import Model, Runtime
from registry.signature import Signature

#: Takes whatever no other runtime recognises.
FALLBACK = "python"


@lru_cache(maxsize=1)
def _all() -> Mapping[str, Runtime]:
    modules = {each.name: import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__)}
    return {name: module.RUNTIME for name, module in sorted(modules.items()) if hasattr(module, "RUNTIME")}


def names() -> list[str]:
    """Return the names of all runtimes."""
    return list(_all())


def get(name: str) -> Runtime:
    """Return a runtime. Raises RuntimeUnknown."""
    try:
        return _all()[name]
    except (KeyError, TypeError) as error:
        raise RuntimeUnknown(str(name)[:100], names()) from error


def guess(model: object) -> str:
    """Return the name of the runtime that takes this model."""
    return next((name for name, runtime in _all().items() if runtime.recognizes(model)), FALLBACK)


def load(name: str, path: Path, options: Mapping[str, Any], signature: Signature) -> Model:
    """Load an artifact; the caller has verified its checksum. Loading may run code that is in it.

    Raises:
        RuntimeUnknown, RuntimeUnavailable, RuntimeOptionsInvalid: it can't be loaded here, or not so.
        ModelLoadFailed: loading raised something; the message has its type and text.
    """
    runtime = get(name)
    try:
        return runtime.load(path, runtime.check_options(options), signature)
    except RegistryError:
        raise
    except Exception as error:
        raise ModelLoadFailed(f"The model can't be loaded: {type(error).__name__}: {error}") from error
