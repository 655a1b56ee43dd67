"""How a process with libraries of its own finds the packages of this project, and nothing that is beside them."""

from __future__ import annotations

from pathlib import Path

from registry.module_names import INSTALLED_IN

_TOP = __name__.partition(".")[0]
#: In a clone, other packages are beside `registry`; installed, all are inside of one.
_PACKAGES = (INSTALLED_IN,) if _TOP == INSTALLED_IN else (INSTALLED_IN, "workers", _TOP)
#: The folder of these packages: that of a clone, or that of all installed packages.
PLACE = str(Path(__file__).resolve().parents[__name__.count(".")])


def import_from_argument(name: str) -> str:
    """Return the first statements of a program whose arguments are `PLACE` and one that it calls `name`.

    They import the top packages alone, while `PLACE` is on the path.
    """
    return (
        f"import sys; place, {name} = sys.argv[1:]; sys.path.insert(0, place); import {', '.join(_PACKAGES)}; "
        "sys.path.remove(place); "
    )
