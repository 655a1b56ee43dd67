"""Files of the artifact store that have names, beside the artifacts: datasets. A file is there as a whole or not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple
from uuid import uuid4

from registry.artifacts import private_files
from registry.artifacts.store import ArtifactStore, modified_at, protocols_of
from registry.errors import ArtifactMissing

_LOCAL = "file"
#: The end of the name of a file that is being written.
PARTIAL = ".partial"


class NamedFile(NamedTuple):
    """A file, as a listing shows it."""

    #: Its path below the root of the store.
    name: str
    size_bytes: int
    #: When it was written last (s since the epoch), by the clock of the store; the future if the store doesn't know.
    modified_at: float


class NamedFiles(ArtifactStore):
    """Files by their path below the root of the artifact store."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file, in the place of one with this name: in one put, or beside it and renamed.

        Raises:
            ArtifactStoreUnavailable: the store can't be reached or written.
            ArtifactStoreFull: it has no room left.
        """
        with self._translated_errors():
            files, root = self._file_system_and_root
            path = f"{root}/{name}"
            if _LOCAL in protocols_of(files):
                _replace(Path(path), content)
            else:
                self._make_folder(path.rpartition("/")[0])
                files.pipe_file(path, content)

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes; None if there is no such file. Raises ArtifactStoreUnavailable."""
        try:
            with self._translated_errors(name):
                files, root = self._file_system_and_root
                content: bytes = files.cat_file(f"{root}/{name}")
        except ArtifactMissing:
            return None
        return content

    @contextmanager
    def reading(self, name: str) -> Iterator[IO[bytes] | None]:
        """Open a file, to read parts of it; yields None if there is no such file. Raises ArtifactStoreUnavailable."""
        try:
            with self._translated_errors(name):
                files, root = self._file_system_and_root
                opened: IO[bytes] = files.open(f"{root}/{name}", "rb")
        except ArtifactMissing:
            yield None
            return
        with opened, self._translated_errors(name):
            yield opened

    def remove(self, name: str) -> None:
        """Delete a file if it exists, and its folder if that is empty then. Raises ArtifactStoreUnavailable."""
        with suppress(ArtifactMissing), self._translated_errors(name):
            files, root = self._file_system_and_root
            path = f"{root}/{name}"
            files.rm_file(path)
            if _LOCAL in protocols_of(files):
                with suppress(OSError):  # it has other files
                    Path(path).parent.rmdir()

    def find(self, folder: str) -> Iterator[NamedFile]:
        """Yield the files below a folder, as they are when the listing begins. Raises ArtifactStoreUnavailable."""
        _, root = self._file_system_and_root
        for path, about in self._listed(folder).items():
            yield NamedFile(path.removeprefix(f"{root}/"), int(about.get("size") or 0), modified_at(about))


def _replace(path: Path, content: bytes) -> None:
    private_files.make_folder(path.parent)
    partial = path.with_name(f"{path.name}.{uuid4().hex}{PARTIAL}")
    try:
        private_files.make_file(partial)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Write a folder's entries to the disk, so that a renamed file outlives the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
