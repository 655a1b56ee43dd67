"""Archives of folders: unpacks untrusted archives safely, and packs folders reproducibly."""

from __future__ import annotations

import errno
import filecmp
import gzip
import lzma
import os
import shutil
import stat
import struct
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
#: Errors of the libraries for damaged bytes, besides OSError; some are raised deep inside them.
_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError, struct.error,
    EOFError, ValueError, OverflowError, RuntimeError,
)  # fmt: skip
#: Errors of a path that can't be written: the name is too long, or a file is in place of a folder or vice versa.
_UNFIT = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}


class _Member(NamedTuple):
    path: str
    size_bytes: int
    content: _Content


def unpack(archive: IO[bytes], folder: Path, max_bytes: int) -> None:
    """Unpack a .zip, .tar.gz or .tar into an existing folder; only files inside it.

    Raises:
        ArchiveInvalid: it is damaged, of another format, too large, or contains links or paths that lead out.
    """
    for member in _members(archive, max_bytes):
        with _created(_place(folder, member.path), member.path) as file:
            shutil.copyfileobj(member.content, file, _CHUNK_BYTES)


def pack(folder: Path, target: IO[bytes]) -> None:
    """Write the files of a folder, without Python's caches, as a .tar that depends only on names and bytes."""
    files = [each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()]
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(each for each in files if each.parent.name != "__pycache__"):
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(entry, file)


def folder_beside(archive: Path) -> Path:
    """Return the folder into which an archive is unpacked."""
    return archive.with_name(f"{archive.name}.folder")


def unpacked_beside(archive: Path) -> Path:
    """Unpack an archive into a folder beside it, and replace files that differ; return the folder.

    Killed hosts don't clean up, so this folder stays, and all hosts of a machine share it.
    """
    folder = folder_beside(archive)
    folder.mkdir(mode=0o700, exist_ok=True)
    with archive.open("rb") as stream:
        # The files can't be larger than the archive, since `pack` doesn't compress.
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
        raise _unfit(path, error) from error
    return target


def _created(target: Path, path: str) -> IO[bytes]:
    try:
        return target.open("wb")
    except OSError as error:
        raise _unfit(path, error) from error


def _unfit(path: str, error: OSError) -> Exception:
    """Return ArchiveInvalid if the path can't be written; return other errors, such as a full disk, unchanged."""
    if error.errno not in _UNFIT:
        return error
    return ArchiveInvalid(f"The archive contains {path[:200]!r}, which can't be written: {error.strerror}.")


def _members(archive: IO[bytes], max_bytes: int) -> Iterator[_Member]:
    """Yield the files; each must be read before the next."""
    left_bytes, seen = max_bytes, set()
    with _reading(), _opened(archive, max_bytes) as found:
        for path, size_bytes, content in found:
            plain = _checked_path(path)
            left_bytes -= size_bytes
            if left_bytes < 0:
                raise ArchiveInvalid(f"The archive contains more than {max_bytes} bytes.")
            if plain in seen:
                raise ArchiveInvalid(f"The archive contains {plain!r} twice.")
            seen.add(plain)
            if len(seen) > MAX_FILES:
                raise ArchiveInvalid(f"The archive contains more than {MAX_FILES} files.")
            yield _Member(plain, size_bytes, _Content(content))


class _Content:
    """A file in an archive; reading it raises ArchiveInvalid if it is damaged."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        """Read like a file. Raises ArchiveInvalid."""
        with _reading():
            return self._stream.read(size)


@contextmanager
def _reading() -> Iterator[None]:
    """Convert errors of damaged bytes to ArchiveInvalid; the block may only read the archive."""
    try:
        yield
    except (*_BROKEN, OSError) as error:
        # A decompressor's OSError has no number, and an impossible seek has EINVAL; others are errors of the machine.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        why = str(error) or type(error).__name__
        raise ArchiveInvalid(f"The archive can't be read: {why}. Send a .zip, a .tar.gz or a .tar.") from error


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
    # As a stream with a limit: a few kilobytes can expand to gigabytes of zeros.
    bounded = _Bounded(plain, max_bytes + (MAX_FILES + 2) * 8 * tarfile.BLOCKSIZE)
    with tarfile.open(fileobj=bounded, mode="r|") as tarred:  # type: ignore[call-overload]  # all it needs is `read`
        yield _files_of_tar(tarred)


class _Bounded:
    """A stream that raises an error after so many bytes, before they are in memory."""

    def __init__(self, stream: IO[bytes], max_bytes: int) -> None:
        self._stream = stream
        self._left_bytes = max_bytes

    def read(self, size: int) -> bytes:
        chunk = self._stream.read(size)
        self._left_bytes -= len(chunk)
        if self._left_bytes < 0:
            raise ArchiveInvalid("The archive exceeds the size limit.")
        return chunk


def _files_of_tar(archive: tarfile.TarFile) -> Iterator[tuple[str, int, IO[bytes]]]:
    for member in archive:
        if member.isdir():
            continue
        content = archive.extractfile(member) if member.type in {tarfile.REGTYPE, tarfile.AREGTYPE} else None
        if content is None or member.sparse is not None:
            raise ArchiveInvalid(f"The archive contains {member.name!r}, which is a link or a special file.")
        yield member.name, member.size, content


def _files_of_zip(archive: zipfile.ZipFile) -> Iterator[tuple[str, int, IO[bytes]]]:
    for member in archive.infolist():
        if member.is_dir() or member.filename.startswith("__MACOSX/"):
            continue
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in {0, stat.S_IFREG} or member.flag_bits & 1:
            raise ArchiveInvalid(f"The archive contains {member.filename!r}, which is a link, or encrypted.")
        # `open` returns at most the member's size.
        with archive.open(member) as content:
            yield member.filename, member.file_size, content


def _checked_path(path: str) -> str:
    plain = PurePosixPath(path)
    if plain.is_absolute() or ".." in plain.parts or not plain.parts or "\\" in path or "\0" in path or ":" in path:
        raise ArchiveInvalid(f"The archive contains {path[:200]!r}, which leads out of it or is not a valid file path.")
    return plain.as_posix()
