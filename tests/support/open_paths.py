"""The paths below a folder that other users of the machine could read."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def mode_of(path: Path) -> int:
    """Return the rights of a path."""
    return stat.S_IMODE(path.stat().st_mode)


def open_paths(folder: Path) -> list[Path]:
    """Return the paths that other users can read or enter, the folder included; none behind a closed folder."""
    if not mode_of(folder) & 0o077:
        return []
    found = [folder]
    for place, folders, files in os.walk(folder):
        open_folders = [name for name in folders if mode_of(Path(place, name)) & 0o077]
        found += [Path(place, name) for name in open_folders]
        found += [Path(place, name) for name in files if mode_of(Path(place, name)) & 0o077]
        folders[:] = open_folders
    return found
