"""The same modules under two names: in a clone `registry.…`, installed `queuecast.registry.…`.

Programs and stored models may use either name in either form. Model hosts and every program that imports `queuecast`
load this: it takes nothing but what Python itself has loaded already. (`importlib.abc` takes longer than all the rest.)
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder

#: As `typing` has it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

#: What has the three packages inside of it where they are installed.
INSTALLED_IN = "queuecast"


class Alias:
    """Finds the modules of a package under another name too: the same objects, not copies.

    It has to be the first finder of Python: the next one would find the files of a module, and make a copy of it.

    Args:
        name: another name of the package.
        real_name: the name that it has.
        others_win: whether modules that other finders find under that name are those of a program.
    """

    def __init__(self, name: str, real_name: str, *, others_win: bool = False) -> None:
        self._name = name
        self._real_name = real_name
        self._others_win = others_win
        self._specs: Any = {}

    def find_spec(self, fullname: str, path: Any = None, _target: object = None) -> ModuleSpec | None:
        """Return what loads a module of the other name; None for all other modules, and for those that don't exist."""
        if fullname != self._name and not fullname.startswith(f"{self._name}."):
            return None
        if self._others_win and self._is_of_others(fullname, path):
            return None
        from importlib.util import find_spec

        try:
            found = find_spec(self._real(fullname))
        except ModuleNotFoundError:  # nor is there its package
            return None
        if found is None:
            return None
        loader: Any = self
        return ModuleSpec(fullname, loader, is_package=found.submodule_search_locations is not None)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module itself."""
        module = import_module(self._real(spec.name))
        # Python gives it the alias's spec now, whose name is not the module's.
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing but undo what `create_module` tells of: the module has run under its own name."""
        assert module.__spec__ is not None  # noqa: S101 - narrows the type
        module.__spec__ = self._specs.pop(module.__spec__.name)

    def _is_of_others(self, fullname: str, path: Any) -> bool:
        package = fullname.rpartition(".")[0]
        is_ours = package and sys.modules.get(package) is sys.modules.get(self._real(package))
        return not is_ours and PathFinder.find_spec(fullname, path) is not None

    def _real(self, name: str) -> str:
        return self._real_name + name[len(self._name) :]


def find_in_clone() -> None:
    """In a clone, find its packages by the names that they have where they are installed, such as `queuecast.api`."""
    for package in ("api", "workers", "registry"):
        sys.meta_path.insert(0, Alias(f"{INSTALLED_IN}.{package}", package))


def find_names_of_clones() -> None:
    """Where this package is installed, find modules of `registry` that models from a clone name; modules of others win.

    In a clone, find those that models from an installed package name.
    """
    own = __name__.rpartition(".")[0]
    if not own.startswith(f"{INSTALLED_IN}."):
        import_module(INSTALLED_IN)
    elif not any(isinstance(each, Alias) for each in sys.meta_path):
        sys.meta_path.insert(0, Alias(own.partition(".")[2], own, others_win=True))
