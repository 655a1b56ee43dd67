"""Whether a wheel is what it should be: it takes no name but `queuecast`, and looks for nothing by another."""

from __future__ import annotations

import zipfile
from pathlib import Path

from distributions.names import INSTALLED_IN, left_over

#: What `queuecast` needs at run time besides modules, one of each kind.
_DATA = (
    "Procfile",
    "docs/README.md",
    "docs/redis-users.acl",
    "py.typed",
    "api/console/static/console.css",
    "api/console/templates/console/layout.html",
    "registry/migrations/env.py",
    "registry/migrations/script.py.mako",
    "workers/jobs/lua/accept.lua",
)


class WheelWrong(Exception):
    """The wheel must not be installed; the message says why."""


def refuse_wrong(path: Path) -> None:
    """Look through a wheel.

    Raises:
        WheelWrong: it takes a name from other packages, or lacks a file, or a module looks for another package.
    """
    problems = []
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        tops = {name.partition("/")[0] for name in names}
        problems += [f"it has {top} at its top" for top in sorted(tops) if not _is_own(top)]
        problems += [f"it lacks {INSTALLED_IN}/{name}" for name in _DATA if f"{INSTALLED_IN}/{name}" not in names]
        for name in names:
            if name.endswith(".py"):
                imports = left_over(wheel.read(name).decode())
                problems += [f"{name} imports {each}" for each in imports]
            elif name.endswith("/top_level.txt") and wheel.read(name).decode().split() != [INSTALLED_IN]:
                problems.append(f"{name} says that it has more than {INSTALLED_IN}")
    if problems:
        raise WheelWrong(f"{path.name}: {'; '.join(problems)}.")


def _is_own(top: str) -> bool:
    return top == INSTALLED_IN or (top.startswith(f"{INSTALLED_IN}-") and top.endswith(".dist-info"))
