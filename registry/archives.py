"""Folders as archives: unpacked without trusting them, packed so that the same files give the same bytes."""

from __future__ import annotations

import filecmp
import gzip
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from registry.errors import ArchiveInvalid

MAX_FILES = 10_000
_CHUNK_BYTES = 1 << 20
_GZIP = b"\x1f\x8b"
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile, NotImplementedError)


class _Member(NamedTuple):
    path: str
    size_bytes: int
    content: IO[bytes]


def unpack(archive: IO[bytes], folder: Path, max_bytes: int) -> None:
    """Unpack a .zip, .tar.gz or .tar into a folder that is there; only files whose place is within it.

    Raises:
        ArchiveInvalid: it is none of these or broken, holds links or paths that lead out, or too much.
    """
    for member in _members(archive, max_bytes):
        target = _place(folder, member.path)
        with target.open("wb") as file:
            shutil.copyfileobj(member.content, file, _CHUNK_BYTES)


def pack(folder: Path, target: IO[bytes]) -> None:
    """Write the files of a folder, but Python's caches, as a .tar that depends on names and bytes alone."""
    files = [each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()]
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(each for each in files if each.parent.name != "__pycache__"):
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(entry, file)


def unpacked_beside(archive: Path) -> Path:
    """Return a folder beside an archive that has its files; those that are not as they should be are written anew.

    Hosts that are killed clean up nothing, so this folder stays and all hosts of a machine share it.
    """
    folder = archive.with_name(f"{archive.name}.folder")
    folder.mkdir(mode=0o700, exist_ok=True)
    with archive.open("rb") as stream:
        # Unpacked it can't be larger: `pack` compresses nothing.
        for member in _members(stream, archive.stat().st_size):
            target = _place(folder, member.path)
            handle, name = tempfile.mkstemp(dir=folder, prefix=".incoming-")
            try:
                with os.fdopen(handle, "wb") as file:
                    shutil.copyfileobj(member.content, file, _CHUNK_BYTES)
                if not _is_same(target, Path(name)):
                    Path(name).rename(target)
            finally:
                Path(name).unlink(missing_ok=True)
    return folder


def _is_same(one: Path, other: Path) -> bool:
    return one.is_file() and not one.is_symlink() and filecmp.cmp(one, other, shallow=False)


def _place(folder: Path, path: str) -> Path:
    target = folder / path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArchiveInvalid(f"The archive holds {path!r} below something that is a file.") from error
    return target


def _members(archive: IO[bytes], max_bytes: int) -> Iterator[_Member]:
    """Yield the files, each to be read before the next one is asked for."""
    left_bytes, seen = max_bytes, set()
    try:
        with _opened(archive, max_bytes) as found:
            for path, size_bytes, content in found:
                plain = _checked_path(path)
                left_bytes -= size_bytes
                if left_bytes < 0:
                    raise ArchiveInvalid(f"The archive holds more than {max_bytes} bytes.")
                if plain in seen:
                    raise ArchiveInvalid(f"The archive holds {plain!r} twice.")
                seen.add(plain)
                if len(seen) > MAX_FILES:
                    raise ArchiveInvalid(f"The archive holds more than {MAX_FILES} files.")
                yield _Member(plain, size_bytes, content)
    except _BROKEN as error:
        raise ArchiveInvalid(f"The archive can't be read: {error}. Send a .zip, a .tar.gz or a .tar.") from error


@contextmanager
def _opened(archive: IO[bytes], max_bytes: int) -> Iterator[Iterator[tuple[str, int, IO[bytes]]]]:
    archive.seek(0)
    beginning = archive.read(2)
    archive.seek(0)
    if beginning == b"PK":
        with zipfile.ZipFile(archive) as zipped:
            yield _files_of_zip(zipped)
        return
    plain: Any = gzip.GzipFile(fileobj=archive) if beginning == _GZIP else archive
    # As a stream, and bounded: a few kilobytes can say that gigabytes of zeros follow.
    bounded = _Bounded(plain, max_bytes + (MAX_FILES + 2) * 8 * tarfile.BLOCKSIZE)
    with tarfile.open(fileobj=bounded, mode="r|") as tarred:  # type: ignore[call-overload]  # all it needs is `read`
        yield _files_of_tar(tarred)


class _Bounded:
    """A stream that ends with an error after so many bytes, before it has them in memory."""

    def __init__(self, stream: IO[bytes], max_bytes: int) -> None:
        self._stream = stream
        self._left_bytes = max_bytes

    def read(self, size: int) -> bytes:
        chunk = self._stream.read(size)
        self._left_bytes -= len(chunk)
        if self._left_bytes < 0:
            raise ArchiveInvalid("The archive holds more than it may.")
        return chunk


def _files_of_tar(archive: tarfile.TarFile) -> Iterator[tuple[str, int, IO[bytes]]]:
    for member in archive:
        if member.isdir():
            continue
        content = archive.extractfile(member) if member.type in {tarfile.REGTYPE, tarfile.AREGTYPE} else None
        if content is None or member.sparse is not None:
            raise ArchiveInvalid(f"The archive holds {member.name!r}, which is a link or no ordinary file.")
        yield member.name, member.size, content


def _files_of_zip(archive: zipfile.ZipFile) -> Iterator[tuple[str, int, IO[bytes]]]:
    for member in archive.infolist():
        if member.is_dir() or member.filename.startswith("__MACOSX/"):
            continue
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in {0, stat.S_IFREG} or member.flag_bits & 1:
            raise ArchiveInvalid(f"The archive holds {member.filename!r}, which is a link, or encrypted.")
        # `open` gives no more bytes than the member's size says.
        with archive.open(member) as content:
            yield member.filename, member.file_size, content


def _checked_path(path: str) -> str:
    plain = PurePosixPath(path)
    if plain.is_absolute() or ".." in plain.parts or not plain.parts or "\\" in path or "\0" in path or ":" in path:
        raise ArchiveInvalid(f"The archive holds {path[:200]!r}, a path that leads out of it or can't be a file's.")
    return plain.as_posix()
