"""The artifact store: artifacts by their SHA-256, behind fsspec; `cache` has local copies."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from io import BytesIO, UnsupportedOperation
from pathlib import Path
from typing import IO, Any, NamedTuple
from uuid import uuid4

from registry.artifacts import private_files
from registry.errors import ArtifactDamaged, ArtifactMissing, ArtifactStoreFull, ArtifactStoreUnavailable

_CHUNK_BYTES = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: The end of the error message for a full store or cache.
NO_ROOM = "has no room: its disk is full, or a quota or a size limit is reached. Make room and try again."
_SHA256 = re.compile(r"[0-9a-f]{64}")
_UPLOAD = re.compile(r"[0-9a-f]{32}")
#: What the file systems of fsspec call the time of the last write: folders, S3, Google's, Azure's, memory.
_MODIFIED = ("mtime", "LastModified", "updated", "last_modified", "created")
#: fsspec's name for the file systems of this machine.
_LOCAL = "file"
#: Stores without folders. Creating a folder would create the bucket, even one with a misspelt name.
_WITHOUT_FOLDERS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})


class StoredArtifact(NamedTuple):
    """The key and size of a stored artifact."""

    sha256: str
    size_bytes: int


class StoredFile(NamedTuple):
    """A file of the store, as a listing shows it."""

    #: The key of an artifact; None for an upload that is not finished.
    sha256: str | None
    size_bytes: int
    #: When it was written last, by the clock of the store; the future if the store doesn't know.
    modified_at: float
    path: str


class ArtifactStore:
    """Immutable artifacts in a folder, or at any URL that fsspec supports."""

    def __init__(self, url: str) -> None:
        """Take a path or a URL, e.g. `s3://bucket/artifacts`; connect on first use."""
        self.url = url

    def put(self, artifact: IO[bytes] | bytes) -> StoredArtifact:
        """Store an artifact; storing it again does no harm, and repairs a damaged one.

        Raises:
            ArtifactStoreUnavailable: the store can't be reached or written.
            ArtifactStoreFull: it has no room left.
        """
        source = BytesIO(artifact) if isinstance(artifact, bytes) else artifact
        files, root = self._file_system_and_root
        incoming = f"{root}/incoming/{uuid4().hex}"
        try:
            stored = self._write(source, incoming)
            with self._translated_errors():
                self._make_folder(self._folder(stored.sha256))
                files.mv(incoming, self._path(stored.sha256))
        except BaseException:
            # The partial file is never read; the first error counts.
            with suppress(Exception):
                files.rm_file(incoming)
            raise
        return stored

    def chunks(self, sha256: str) -> Iterator[bytes]:
        """Yield the stored bytes in chunks, unverified; `get` and the cache verify them.

        Raises:
            ArtifactMissing: the store doesn't have it.
            ArtifactStoreUnavailable: the store can't be reached or read.
        """
        with self._translated_errors(sha256):
            stream = self._file_system_and_root[0].open(self._path(sha256), "rb")
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
            ArtifactDamaged: the bytes differ from the stored ones.
        """
        content = b"".join(self.chunks(sha256))
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise ArtifactDamaged(sha256, found)
        return content

    def verify(self, sha256: str) -> None:
        """Read and verify an artifact in chunks. Raises like `get`."""
        digest = hashlib.sha256()
        for chunk in self.chunks(sha256):
            digest.update(chunk)
        if digest.hexdigest() != sha256:
            raise ArtifactDamaged(sha256, digest.hexdigest())

    def exists(self, sha256: str) -> bool:
        """Whether the store has the artifact. Raises ArtifactStoreUnavailable."""
        with self._translated_errors():
            return bool(self._file_system_and_root[0].exists(self._path(sha256)))

    def delete(self, sha256: str) -> None:
        """Delete an artifact if it exists. Raises ArtifactStoreUnavailable."""
        with suppress(ArtifactMissing), self._translated_errors(sha256):
            self._file_system_and_root[0].rm_file(self._path(sha256))

    def list_artifacts(self) -> Iterator[StoredFile]:
        """Yield all artifacts, as they are when the listing begins; other files in their folders are left out.

        Raises:
            ArtifactStoreUnavailable: the store can't be reached or listed.
        """
        for path, about in self._listed("sha256").items():
            folder, _, name = path.rpartition("/")
            if _SHA256.fullmatch(name) and folder.endswith(f"/sha256/{name[:2]}"):
                yield self._stored(name, path, about)

    def list_uploads(self) -> Iterator[StoredFile]:
        """Yield the parts of uploads that go on, or have broken off. Raises ArtifactStoreUnavailable."""
        for path, about in self._listed("incoming").items():
            if _UPLOAD.fullmatch(path.rpartition("/")[2]):
                yield self._stored(None, path, about)

    def artifact(self, sha256: str) -> StoredFile | None:
        """Return what the store has under a key now; None if nothing. Raises ArtifactStoreUnavailable."""
        try:
            with self._translated_errors(sha256):
                path = self._path(sha256)
                return self._stored(sha256, path, self._file_system_and_root[0].info(path))
        except ArtifactMissing:
            return None

    def delete_file(self, file: StoredFile) -> None:
        """Delete a file that a listing has shown, if it is still there. Raises ArtifactStoreUnavailable."""
        with suppress(ArtifactMissing), self._translated_errors(file.sha256 or "an upload"):
            self._file_system_and_root[0].rm_file(file.path)

    def _listed(self, folder: str) -> dict[str, Any]:
        files, root = self._file_system_and_root
        try:
            with self._translated_errors(folder):
                files.invalidate_cache()
                found: dict[str, Any] = files.find(f"{root}/{folder}", detail=True)
        except ArtifactMissing:  # nothing was ever stored
            return {}
        return found

    def _stored(self, sha256: str | None, path: str, about: Mapping[str, Any]) -> StoredFile:
        return StoredFile(sha256, int(about.get("size") or 0), modified_at(about), path)

    @cached_property
    def _file_system_and_root(self) -> tuple[Any, str]:
        # Imported late: fsspec reads its configuration files on import.
        from fsspec.core import url_to_fs

        with self._translated_errors():
            if self.url.startswith(("s3://", "s3a://")):
                from registry.artifacts import s3

                files: Any = s3.file_system()
                return files, str(files._strip_protocol(self.url)).rstrip("/")  # noqa: SLF001 - fsspec has no public one
            files, root = url_to_fs(self.url)
            return files, str(root).rstrip("/")

    def _make_folder(self, path: str) -> None:
        protocols = protocols_of(self._file_system_and_root[0])
        if _LOCAL in protocols:
            private_files.make_folder(Path(path))
        elif not protocols & _WITHOUT_FOLDERS:
            self._file_system_and_root[0].makedirs(path, exist_ok=True)

    def _folder(self, sha256: str) -> str:
        if not _SHA256.fullmatch(sha256):
            raise ArtifactMissing(sha256[:64])
        return f"{self._file_system_and_root[1]}/sha256/{sha256[:2]}"

    def _path(self, sha256: str) -> str:
        return f"{self._folder(sha256)}/{sha256}"

    def _write(self, source: IO[bytes], path: str) -> StoredArtifact:
        files, root = self._file_system_and_root
        with self._translated_errors():
            self._make_folder(f"{root}/incoming")
            target = files.open(path, "wb")
            if _LOCAL in protocols_of(files):
                private_files.close_open_file(target.fileno(), Path(path).parent)
        with _closing(target, self._translated_errors):
            digest, size_bytes = hashlib.sha256(), 0
            # Errors of the source are not errors of the store.
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
                raise ArtifactStoreUnavailable("The artifact store's folder or bucket doesn't exist.") from error
            raise ArtifactMissing(sha256) from error
        except PermissionError as error:
            raise ArtifactStoreUnavailable("The artifact store refuses access: check its credentials.") from error
        except ImportError as error:
            raise ArtifactStoreUnavailable(f"The artifact store requires a library: {error}.") from error
        except Exception as error:  # each file system has its own errors
            if is_full(error):
                raise ArtifactStoreFull(f"The artifact store {NO_ROOM}") from error
            raise ArtifactStoreUnavailable("The artifact store can't be reached, read or written.") from error


def modified_at(about: Mapping[str, Any]) -> float:
    """Return the time in what a file system says about a file; each has its own name and form of it."""
    for name in _MODIFIED:
        found = about.get(name)
        with suppress(ValueError):
            found = datetime.fromisoformat(found) if isinstance(found, str) else found
        if isinstance(found, datetime):
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        if isinstance(found, int | float):
            return float(found)
    return math.inf


def protocols_of(files: Any) -> frozenset[str]:
    """Return the names that a file system has in fsspec."""
    return frozenset({files.protocol} if isinstance(files.protocol, str) else files.protocol)


@contextmanager
def _closing(target: Any, translated_errors: Callable[[], Any]) -> Iterator[None]:
    """Flush and close the file at the end, since buffered bytes are not yet stored."""
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
    """Write a local file's bytes to the disk; only now a full disk may raise an error."""
    try:
        number = target.fileno()
    except (AttributeError, UnsupportedOperation):
        return
    os.fsync(number)


def is_full(error: Exception) -> bool:
    """Whether an error means that the disk is full."""
    return isinstance(error, OSError) and error.errno in _FULL


def checksum_of(path: Path) -> str | None:
    """Return the SHA-256 of a file; None if it doesn't exist."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
