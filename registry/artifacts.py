"""Artifacts by the sha256 of their bytes: a store behind fsspec, and a verified local cache of it."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from io import BytesIO, UnsupportedOperation
from pathlib import Path
from typing import IO, Any, NamedTuple
from uuid import uuid4

from registry.errors import ArtifactDamaged, ArtifactMissing, ArtifactStoreFull, ArtifactStoreUnavailable

_CHUNK_BYTES = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_ROOM = "has no room: its disk is full, or a quota or a size limit is reached. Make room and try again."
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: Stores that have no folders. To make one would make the bucket, so that a bucket misspelt would be a new one.
_WITHOUT_FOLDERS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})


class StoredArtifact(NamedTuple):
    """What was stored: its key and its size."""

    sha256: str
    size_bytes: int


class ArtifactStore:
    """Artifacts in a folder, or at any URL that fsspec knows; nothing in it ever changes."""

    def __init__(self, url: str) -> None:
        """Take a path or a URL, e.g. `s3://bucket/artifacts`; connects when it is first used."""
        self.url = url

    def put(self, artifact: IO[bytes] | bytes) -> StoredArtifact:
        """Store an artifact; storing the same again is harmless, and mends a damaged one.

        Raises:
            ArtifactStoreUnavailable: the store can't be reached or written.
            ArtifactStoreFull: it has no room left.
        """
        source = BytesIO(artifact) if isinstance(artifact, bytes) else artifact
        files, root = self._place
        incoming = f"{root}/incoming/{uuid4().hex}"
        try:
            stored = self._write(source, incoming)
            with self._translated_errors():
                self._make_folder(self._folder(stored.sha256))
                files.mv(incoming, self._path(stored.sha256))
        except BaseException:
            # What was written so far has no name that anybody asks for; the first error counts.
            with suppress(Exception):
                files.rm_file(incoming)
            raise
        return stored

    def chunks(self, sha256: str) -> Iterator[bytes]:
        """Yield the stored bytes piece by piece, unverified: `get` and the cache verify.

        Raises:
            ArtifactMissing: the store doesn't have it.
            ArtifactStoreUnavailable: the store can't be reached or read.
        """
        with self._translated_errors(sha256):
            stream = self._place[0].open(self._path(sha256), "rb")
        with stream:
            while True:
                with self._translated_errors(sha256):
                    chunk = stream.read(_CHUNK_BYTES)
                if not chunk:
                    return
                yield chunk

    def get(self, sha256: str) -> bytes:
        """Return the verified bytes of an artifact.

        Raises:
            ArtifactMissing, ArtifactStoreUnavailable: as for `chunks`.
            ArtifactDamaged: they are not the bytes that were stored.
        """
        content = b"".join(self.chunks(sha256))
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise ArtifactDamaged(sha256, found)
        return content

    def verify(self, sha256: str) -> None:
        """Read an artifact, piece by piece. Raises as `get` does."""
        digest = hashlib.sha256()
        for chunk in self.chunks(sha256):
            digest.update(chunk)
        if digest.hexdigest() != sha256:
            raise ArtifactDamaged(sha256, digest.hexdigest())

    def exists(self, sha256: str) -> bool:
        """Tell whether the store has the artifact. Raises ArtifactStoreUnavailable."""
        with self._translated_errors():
            return bool(self._place[0].exists(self._path(sha256)))

    def delete(self, sha256: str) -> None:
        """Delete an artifact; nothing happens if it isn't there. Raises ArtifactStoreUnavailable."""
        with suppress(ArtifactMissing), self._translated_errors(sha256):
            self._place[0].rm_file(self._path(sha256))

    @cached_property
    def _place(self) -> tuple[Any, str]:
        # Late: fsspec reads its configuration files when it is imported.
        from fsspec.core import url_to_fs

        with self._translated_errors():
            if self.url.startswith(("s3://", "s3a://")):
                from registry import s3

                files: Any = s3.file_system()
                return files, str(files._strip_protocol(self.url)).rstrip("/")  # noqa: SLF001 - fsspec has no other
            files, root = url_to_fs(self.url)
            return files, str(root).rstrip("/")

    def _make_folder(self, path: str) -> None:
        if not _protocols(self._place[0]) & _WITHOUT_FOLDERS:
            self._place[0].makedirs(path, exist_ok=True)

    def _folder(self, sha256: str) -> str:
        if not _SHA256.fullmatch(sha256):
            raise ArtifactMissing(sha256[:64])
        return f"{self._place[1]}/sha256/{sha256[:2]}"

    def _path(self, sha256: str) -> str:
        return f"{self._folder(sha256)}/{sha256}"

    def _write(self, source: IO[bytes], path: str) -> StoredArtifact:
        files, root = self._place
        with self._translated_errors():
            self._make_folder(f"{root}/incoming")
            target = files.open(path, "wb")
        with _closing(target, self._translated_errors):
            digest, size_bytes = hashlib.sha256(), 0
            # Errors of the source are not the store's.
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                size_bytes += len(chunk)
                with self._translated_errors():
                    target.write(chunk)
        return StoredArtifact(digest.hexdigest(), size_bytes)

    @contextmanager
    def _translated_errors(self, sha256: str | None = None) -> Iterator[None]:
        try:
            yield
        except (ArtifactMissing, ArtifactStoreUnavailable):
            raise
        except FileNotFoundError as error:
            if sha256 is None:
                raise ArtifactStoreUnavailable("The artifact store's folder or bucket is not there.") from error
            raise ArtifactMissing(sha256) from error
        except PermissionError as error:
            raise ArtifactStoreUnavailable("The artifact store refuses: check its credentials and rights.") from error
        except ImportError as error:
            raise ArtifactStoreUnavailable(f"The artifact store needs a library: {error}.") from error
        except Exception as error:  # each file system raises errors of its own
            if _is_full(error):
                raise ArtifactStoreFull(f"The artifact store {_NO_ROOM}") from error
            raise ArtifactStoreUnavailable("The artifact store can't be reached, read or written.") from error


def _protocols(files: Any) -> frozenset[str]:
    return frozenset({files.protocol} if isinstance(files.protocol, str) else files.protocol)


@contextmanager
def _closing(target: Any, translated_errors: Callable[[], Any]) -> Iterator[None]:
    """Close the file at the end; bytes that are only in a buffer are not stored yet."""
    try:
        yield
        with translated_errors():
            target.flush()
            _sync(target)
    except BaseException:
        with suppress(Exception):
            target.close()
        raise
    with translated_errors():
        target.close()


def _sync(target: Any) -> None:
    """Have the bytes written to the disk, if it is one of this machine; a full one may say so only now."""
    try:
        number = target.fileno()
    except (AttributeError, UnsupportedOperation):
        return
    os.fsync(number)


def _is_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in _FULL


class ArtifactCache:
    """Local copies of artifacts, verified each time that one is asked for; safe for many processes."""

    def __init__(self, directory: Path | str, store: ArtifactStore) -> None:
        self._directory = Path(directory)
        self._store = store

    def fetch(self, sha256: str) -> Path:
        """Return the path of a local copy whose checksum was verified just now.

        Raises:
            ArtifactMissing: neither the cache nor the store has it.
            ArtifactDamaged: the store's bytes are not those that were registered.
            ArtifactStoreUnavailable: the store can't be reached, or the cache's folder can't be used.
            ArtifactStoreFull: the cache has no room left.
        """
        path = self._directory / sha256
        try:
            if checksum_of(path) != sha256:
                # Not there, or damaged here: the store has the good one, or the answer.
                self._download(sha256, path)
        except OSError as error:
            if _is_full(error):
                raise ArtifactStoreFull(f"The artifact cache {_NO_ROOM}") from error
            raise ArtifactStoreUnavailable(f"The artifact cache can't be used: {error.strerror}.") from error
        return path

    def _download(self, sha256: str, path: Path) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(prefix="incoming-", dir=self._directory)
        try:
            with os.fdopen(handle, "wb") as target:
                self._copy(sha256, target)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _copy(self, sha256: str, target: IO[bytes]) -> None:
        digest = hashlib.sha256()
        for chunk in self._store.chunks(sha256):
            digest.update(chunk)
            target.write(chunk)
        if digest.hexdigest() != sha256:
            raise ArtifactDamaged(sha256, digest.hexdigest())


def checksum_of(path: Path) -> str | None:
    """Return the sha256 of a file, None if there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
