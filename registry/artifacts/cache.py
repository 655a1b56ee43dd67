"""Verified local copies of artifacts, limited in size: the least recently used ones are deleted first.

Several processes share a folder. A process that uses a copy locks its file, so that others don't delete it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple, Self

from registry.artifacts import archives, private_files
from registry.artifacts.store import NO_ROOM, ArtifactStore, is_full
from registry.errors import ArtifactDamaged, ArtifactStoreFull, ArtifactStoreUnavailable

_SHA256 = re.compile(r"[0-9a-f]{64}")
_INCOMING = "incoming-"
#: Upper limit of the time between creating a download's file and locking it; it is much shorter in practice.
_LOCKED_WITHIN_S = 60.0
#: Downloads of a copy that other processes delete before it is locked, before the cache gives up.
_TRIES = 5
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


class HeldArtifact:
    """A copy that is not deleted until it is released or this object is garbage-collected."""

    def __init__(self, path: Path, locked: IO[bytes]) -> None:
        self.path = path
        self._release = weakref.finalize(self, locked.close)

    def release(self) -> None:
        """Allow deleting the copy when room is needed; further calls do nothing."""
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class _Copy(NamedTuple):
    used_at: float
    size_bytes: int
    path: Path


class ArtifactCache:
    """Local copies of artifacts, verified on each use; safe for concurrent processes.

    Copies in use stay, even if they exceed `max_bytes` (None: no limit).
    """

    def __init__(self, directory: Path | str, store: ArtifactStore, max_bytes: int | None = None) -> None:
        self._directory = Path(directory)
        self._store = store
        self._max_bytes = max_bytes

    def hold(self, sha256: str) -> HeldArtifact:
        """Return a local copy with a freshly verified checksum; it stays while it is held.

        Raises:
            ArtifactMissing: neither the cache nor the store has it.
            ArtifactDamaged: the store's bytes differ from the registered ones.
            ArtifactStoreUnavailable: the store can't be reached, or the cache's folder can't be used.
            ArtifactStoreFull: the cache has no room left.
        """
        path = self._directory / sha256
        with _translated_errors():
            for _ in range(_TRIES):
                held = _held(path, sha256)
                if held is not None:
                    os.utime(path)
                    self._make_room()
                    return held
                # The copy is missing or damaged: fetch it from the store.
                self._download(sha256, path)
        raise ArtifactStoreUnavailable("The artifact cache can't be used: its files disappear.")

    def fetch(self, sha256: str) -> Path:
        """Return the path of a verified copy, which may be deleted when room is needed. Raises like `hold`."""
        with self.hold(sha256) as held:
            return held.path

    def _download(self, sha256: str, path: Path) -> None:
        private_files.make_folder(self._directory.parent)
        # Not even the group has access, since these files are executed.
        self._directory.mkdir(mode=0o700, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_INCOMING, dir=self._directory)
        try:
            with os.fdopen(handle, "wb") as target:
                _lock(target, fcntl.LOCK_EX)
                self._copy(sha256, target)
            self._put_in_place(Path(name), path, sha256)
        finally:
            Path(name).unlink(missing_ok=True)

    def _put_in_place(self, incoming: Path, path: Path, sha256: str) -> None:
        """Rename a download, unless another process was faster: users may have locked its copy."""
        folder = os.open(self._directory, os.O_RDONLY)
        try:
            _lock(folder, fcntl.LOCK_EX)
            if (held := _held(path, sha256)) is None:
                incoming.replace(path)
            else:
                held.release()
        finally:
            os.close(folder)

    def _copy(self, sha256: str, target: IO[bytes]) -> None:
        digest = hashlib.sha256()
        for chunk in self._store.chunks(sha256):
            digest.update(chunk)
            target.write(chunk)
        if digest.hexdigest() != sha256:
            raise ArtifactDamaged(sha256, digest.hexdigest())

    def _make_room(self) -> None:
        """Delete leftover downloads of killed processes, and unused copies until the rest fits into `max_bytes`."""
        if self._max_bytes is None:
            return
        for path in self._directory.glob(f"{_INCOMING}*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _LOCKED_WITHIN_S:
                    _delete_unless_used(path)
        copies = self._copies()
        too_many_bytes = sum(each.size_bytes for each in copies) - self._max_bytes
        for each in sorted(copies):
            if too_many_bytes <= 0:
                return
            if _delete_unless_used(each.path):
                too_many_bytes -= each.size_bytes

    def _copies(self) -> list[_Copy]:
        found = []
        for path in self._directory.iterdir():
            if _SHA256.fullmatch(path.name):
                with suppress(FileNotFoundError):  # another process has just deleted it
                    status = path.stat()
                    size_bytes = status.st_size + _size_of_folder(archives.folder_beside(path))
                    found.append(_Copy(status.st_mtime, size_bytes, path))
        return found


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise ArtifactStoreFull(f"The artifact cache {NO_ROOM}") from error
        raise ArtifactStoreUnavailable(f"The artifact cache can't be used: {error.strerror}.") from error


def _held(path: Path, sha256: str) -> HeldArtifact | None:
    """Lock a copy and verify it; None if it is missing or damaged."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    try:
        _lock(file, fcntl.LOCK_SH)
        if _is_at(file, path) and hashlib.file_digest(file, "sha256").hexdigest() == sha256:
            return HeldArtifact(path, file)
    except BaseException:
        file.close()
        raise
    file.close()
    return None


def _delete_unless_used(path: Path) -> bool:
    """Delete a copy with the folder unpacked beside it, unless it is used; return whether it is deleted."""
    try:
        # Open for writing: network file systems require it for an exclusive lock.
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                # Delete the folder first: a process that finds no copy fetches and unpacks it again.
                shutil.rmtree(archives.folder_beside(path), ignore_errors=True)
                path.unlink()
    except FileNotFoundError:
        return True
    except OSError:  # a process uses it, or this file system has no locks
        return False
    return True


def _lock(file: IO[bytes] | int, how: int) -> None:
    try:
        fcntl.flock(file, how)
    except OSError as error:
        # Without locks nothing is deleted, since deleting requires a lock, too.
        if error.errno not in _NO_LOCKS:
            raise


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the file at this path."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _size_of_folder(folder: Path) -> int:
    size_bytes = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size_bytes += Path(place, name).stat().st_size
    return size_bytes
