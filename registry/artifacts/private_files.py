"""Creates folders and files that no other user of the machine can read, whatever the umask is.

If others have no access to the parent folder, the group gets the rights that it has there: such a folder was set up on
purpose, for example to run the API and the workers as different users. Otherwise the group's rights are an accident of
the umask, and the group gets none.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

_OWNER, _GROUP, _OTHERS = 0o700, 0o070, 0o007
_GROUP_WRITES = 0o020
_READ_AND_WRITE = 0o666


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents; an existing folder stays unchanged.

    Raises:
        OSError: it can't be created.
    """
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        path.mkdir(mode=_OWNER)
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        path.chmod(_mode_within(path.parent))


def make_file(path: Path) -> None:
    """Create an empty file; an existing file stays unchanged.

    Raises:
        OSError: it can't be created.
    """
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            close_open_file(descriptor, path.parent)
        finally:
            os.close(descriptor)


def close_open_file(descriptor: int, folder: Path) -> None:
    """Give an open file the mode of a new file in this folder."""
    os.fchmod(descriptor, _mode_within(folder) & _READ_AND_WRITE)


def close_to_others(path: Path) -> None:
    """Remove others' rights from a path that an earlier release created, and those of a group without write access.

    Does nothing if the path is missing or belongs to another user.
    """
    with suppress(FileNotFoundError, PermissionError):
        mode = stat.S_IMODE(path.stat().st_mode)
        kept = _OWNER | _GROUP if mode & _GROUP_WRITES else _OWNER
        if mode & _OTHERS:
            path.chmod(mode & kept)


def _mode_within(folder: Path) -> int:
    mode = folder.stat().st_mode
    # With the set-group-ID bit, new files in a folder get the folder's group.
    return _OWNER | (mode & (_GROUP | stat.S_ISGID) if not mode & _OTHERS else 0)
