"""Folders as archives, so that one request can carry them."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from api.client.errors import SettingsWrong


@contextmanager
def archived(folder: str | Path) -> Iterator[IO[bytes]]:
    """Yield a .tar.gz of a folder; of an archive, which is a file already, its bytes. Raises SettingsWrong."""
    path = Path(folder)
    try:
        if path.is_file():
            with path.open("rb") as file:
                yield file
            return
        if not (path / "MLmodel").is_file():
            raise SettingsWrong(f"{path} is neither an archive nor a folder with an MLmodel file.")
    except OSError as error:
        raise SettingsWrong(f"{path} can't be read: {error.strerror}.") from error
    with tempfile.TemporaryFile() as target:
        with tarfile.open(fileobj=target, mode="w:gz", compresslevel=1, dereference=True) as archive:
            archive.add(path, arcname=".")
        yield target
