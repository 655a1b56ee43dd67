"""Pickles a model with the code that only this program has (its script and the modules beside it); loads pickles."""

from __future__ import annotations

import io
import logging
import mmap
import pickle
import site
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from registry import module_names

_log = logging.getLogger(__name__)

#: cloudpickle's list of modules to pickle by value is global.
_lock = threading.Lock()
#: Where the packages of this project are.
_PROJECT = Path(__file__).resolve().parents[__name__.count(".")]
#: Packages of this project, which exist wherever models run.
_PROJECT_PACKAGES = frozenset({"registry", "workers", "api", "queuecast"})
_SOURCE = (".py", ".pyc")
#: First byte of a pickle of protocol 2 or later.
_PICKLE = b"\x80"


def dumps(model: Any) -> bytes:
    """Return a pickle with the code of `__main__` and of modules that are not installed, as far as it is used.

    Installed modules are pickled by name. So is a module that can't be pickled, e.g. because it contains a lock; then
    the pickle loads only where the module can be imported.
    """
    import cloudpickle

    with _pickled_by_value(own_modules()) as names:
        try:
            pickled: bytes = cloudpickle.dumps(model)
        except Exception as error:
            if not names:
                raise
            failed = error
        else:
            return pickled
    try:
        pickled = cloudpickle.dumps(model)
    except Exception:  # noqa: BLE001 - the first error is about the model
        raise failed from None
    _log.warning("storing the model's code by name instead of by value: %s: %s", type(failed).__name__, failed)
    return pickled


def load(path: Path) -> Any:
    """Load a pickle, or a file of joblib.

    A plain pickle is loaded without joblib, which imports numpy: 20 MiB that a plain function doesn't need.
    """
    module_names.find_names_of_clones()
    with path.open("rb") as file:
        if _is_plain_pickle(file):
            return pickle.load(file)  # noqa: S301 - the caller has verified the checksum
    import joblib

    return joblib.load(path)


def _is_plain_pickle(file: io.BufferedReader) -> bool:
    """Whether it is not compressed, and names no class of joblib, which reads arrays from between a pickle's parts."""
    if file.peek(1)[:1] != _PICKLE:
        return False
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"joblib.numpy_pickle") < 0


def own_modules() -> list[ModuleType]:
    """Return the imported modules that are not installed, so that other programs can't import them."""
    installed = _installed_places()
    found: list[tuple[str, object]] = list(sys.modules.items())  # some programs put other objects there
    return [
        module
        for name, module in found
        if isinstance(module, ModuleType)
        and name == module.__name__
        and name != "__main__"
        and _is_own(module, installed)
    ]


@contextmanager
def _pickled_by_value(modules: list[ModuleType]) -> Iterator[list[str]]:
    """Let cloudpickle pickle these modules by value; yield the names of those that it otherwise wouldn't."""
    import cloudpickle

    with _lock:
        added = [each for each in modules if each.__name__ not in cloudpickle.list_registry_pickle_by_value()]
        for module in added:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield [module.__name__ for module in added]
        finally:
            for module in added:
                cloudpickle.unregister_pickle_by_value(module)


def _is_own(module: ModuleType, installed: tuple[str, ...]) -> bool:
    attributes = vars(module)
    file = attributes.get("__file__")
    if isinstance(file, str):
        files = [file] if file.endswith(_SOURCE) else []  # compiled code can't be pickled
    else:
        files = list(attributes.get("__path__") or ())  # a folder without __init__.py
    return bool(files) and not any(
        each.startswith(installed)
        or str(_resolved(each)).startswith(installed)
        or _is_of_project(module, each)
        or _is_installed_editable(module, each)
        for each in files
    )


def _is_of_project(module: ModuleType, place: str) -> bool:
    top = module.__name__.partition(".")[0]
    return top in _PROJECT_PACKAGES and _resolved(place).is_relative_to(_PROJECT / top)


@lru_cache(maxsize=10_000)
def _resolved(place: str) -> Path:
    """Return a path without links. Programs have thousands of modules, and register several models."""
    return Path(place).resolve()


@lru_cache(maxsize=1)
def _installed_places() -> tuple[str, ...]:
    """Return the folders of installed modules, each with a trailing slash."""
    packages = [*site.getsitepackages(), site.getusersitepackages(), *sysconfig.get_paths().values()]
    # An editable installation lists its folder in such a file.
    listed = [
        line.strip()
        for folder in map(Path, dict.fromkeys(packages))
        for file in (folder.glob("*.pth") if folder.is_dir() else ())
        for line in file.read_text(errors="replace").splitlines()
        if line.startswith("/")
    ]
    data = {sysconfig.get_path("data"), sysconfig.get_path("scripts")}  # these contain programs, and are often projects
    folders = [each for each in [*packages, *listed] if each not in data]
    return tuple({f"{each}/" for folder in folders for each in (folder, Path(folder).resolve())})


def _is_installed_editable(module: ModuleType, place: str) -> bool:
    """Whether a finder of an editable installation finds the module's package in this folder."""
    top = module.__name__.partition(".")[0]
    for finder in sys.meta_path:
        if "editable" not in str(getattr(finder, "__module__", "")):
            continue
        spec = finder.find_spec(top, None)
        found = [] if spec is None else [*filter(None, [spec.origin]), *(spec.submodule_search_locations or ())]
        roots = [Path(each).resolve() for each in found]
        if any(_resolved(place).is_relative_to(root) for root in roots):
            return True
    return False
