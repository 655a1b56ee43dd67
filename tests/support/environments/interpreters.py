"""Other Python interpreters of this machine, for hosts that don't run on the worker's own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

#: The earliest Python that a model host runs on.
EARLIEST = (3, 9)
_NAMES = (*(f"python3.{minor}" for minor in range(EARLIEST[1], 16)), "pypy3")
_SHOW = "import sys; print(sys.executable, sys.implementation.name, *sys.version_info[:2])"
_PYENV = Path.home() / ".pyenv" / "versions"


@lru_cache(maxsize=1)
def others() -> dict[str, str]:
    """The interpreters by name and version, e.g. `cpython3.9`, one for each, without that of these tests."""
    on_path = [place for name in _NAMES if (place := shutil.which(name))]
    of_pyenv = [str(each) for each in sorted(_PYENV.glob("*/bin/python"))]
    found: dict[str, str] = {}
    for place in [*on_path, *of_pyenv]:
        if (shown := _shown(place)) is not None:
            executable, name, major, minor = shown
            if (int(major), int(minor)) >= EARLIEST:
                found.setdefault(f"{name}{major}.{minor}", executable)
    found.pop(f"{sys.implementation.name}{sys.version_info.major}.{sys.version_info.minor}", None)
    return found


def others_from(earliest: str) -> list[str]:
    """Return the other CPythons from a version on, such as 3.11, the lowest first."""
    lowest = tuple(map(int, earliest.split(".")))
    found = {_numbers(name): place for name, place in others().items() if name.startswith("cpython")}
    return [found[numbers] for numbers in sorted(found) if numbers >= lowest]


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(map(int, name.removeprefix("cpython").split(".")))


def _shown(place: str) -> list[str] | None:
    """What an interpreter shows of itself; None if it doesn't run, like a shim of pyenv."""
    command = [place, "-I", "-c", _SHOW]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    words = done.stdout.split()
    return words if done.returncode == 0 and len(words) == 4 else None


if __name__ == "__main__":
    print(*others_from(sys.argv[1]))
