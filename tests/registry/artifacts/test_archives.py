"""Archives of folders: unpacked safely, packed reproducibly."""

from __future__ import annotations

import contextlib
import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.artifacts import archives
from registry.errors import ArchiveInvalid


def tarred(*members: tarfile.TarInfo, content: bytes = b"") -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content))
    return target.getvalue()


def zipped(name: str, content: bytes = b"model", mode: int = 0) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return target.getvalue()


def special(kind: bytes, name: str = "link", target: str = "/etc/passwd") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize("packed", [lambda one: one, gzip.compress], ids=["tar", "tar.gz"])
def test_a_packed_folder_unpacks_to_the_same_files(tmp_path: Path, packed: Callable[[bytes], bytes]) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "code").mkdir(parents=True)
    (source / "code" / "a.py").write_text("A = 1\n")
    (source / "code" / "__pycache__").mkdir()
    (source / "code" / "__pycache__" / "a.pyc").write_bytes(b"different each time")
    (source / "MLmodel").write_text("flavors: {}\n")
    target.mkdir()
    archive = io.BytesIO()
    archives.pack(source, archive)
    archives.unpack(io.BytesIO(packed(archive.getvalue())), target, 10_000)
    assert (target / "code" / "a.py").read_text() == "A = 1\n"
    assert sorted(each.name for each in target.rglob("*")) == ["MLmodel", "a.py", "code"]
    again = io.BytesIO()
    archives.pack(target, again)
    assert again.getvalue() == archive.getvalue()


@pytest.mark.parametrize(
    "archive",
    [
        tarred(tarfile.TarInfo("../out")),
        tarred(tarfile.TarInfo("/tmp/out")),
        tarred(tarfile.TarInfo("a/../../out")),
        tarred(special(tarfile.SYMTYPE)),
        tarred(special(tarfile.LNKTYPE)),
        tarred(special(tarfile.FIFOTYPE)),
        tarred(special(tarfile.CHRTYPE)),
        tarred(tarfile.TarInfo("a"), tarfile.TarInfo("a")),
        tarred(tarfile.TarInfo("a"), tarfile.TarInfo("a/b")),
        zipped("../out"),
        zipped("/tmp/out"),
        zipped("a\\..\\out"),
        zipped("link", b"/etc/passwd", 0o120777),
        b"",
        b"no archive at all" * 100,
        gzip.compress(b"no archive at all" * 100),
        gzip.compress(tarred(tarfile.TarInfo("a"), content=b"x" * 4000))[:60],
        zipped("a")[:-10],
    ],
    ids=range(18),  # the bytes have the time in them, and each process has to name the tests alike
)
def test_what_leads_out_or_is_broken_is_refused(tmp_path: Path, archive: bytes) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    with pytest.raises(ArchiveInvalid):
        archives.unpack(io.BytesIO(archive), folder, 10_000)
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    "archive",
    [
        gzip.compress(tarred(tarfile.TarInfo("zeros"), content=bytes(1 << 20))),
        zipped("zeros", bytes(1 << 20)),
        # A header of a megabyte, which is read before any file is.
        gzip.compress(tarred(special(tarfile.XHDTYPE), tarfile.TarInfo("a"), content=bytes(1 << 20))),
    ],
)
def test_what_is_small_only_while_it_is_packed_is_refused(tmp_path: Path, archive: bytes) -> None:
    assert len(archive) < 10_000
    with pytest.raises(ArchiveInvalid, match=r"more than|can't be read"):
        archives.unpack(io.BytesIO(archive), tmp_path, 100_000)
    assert sum(each.stat().st_size for each in tmp_path.rglob("*")) < 100_000


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_whose_bytes_are_damaged_is_refused_whatever_reads_them(tmp_path: Path, compression: int) -> None:
    sound = io.BytesIO()
    with zipfile.ZipFile(sound, "w", compression) as archive:
        archive.writestr("model/MLmodel", b"flavors: {}\n" * 40)
        archive.writestr("model/model.bin", bytes(range(256)))
    for place in range(len(sound.getvalue())):
        damaged = bytearray(sound.getvalue())
        damaged[place] ^= 0xFF
        # Some bytes, such as dates, may be anything.
        with contextlib.suppress(ArchiveInvalid):
            archives.unpack(io.BytesIO(damaged), tmp_path, 10_000)


@pytest.mark.parametrize("names", [("a/b", "a"), ("a", "a/b"), ("n" * 300,)])
def test_names_that_can_not_stand_beside_each_other_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(ArchiveInvalid, match=f"contains '{names[-1][:200]}"):
        archives.unpack(io.BytesIO(tarred(*map(tarfile.TarInfo, names), content=b"x")), tmp_path, 10_000)


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_FILES", 3)
    with pytest.raises(ArchiveInvalid, match="more than 3 files"):
        archives.unpack(io.BytesIO(tarred(*map(tarfile.TarInfo, "abcd"))), tmp_path, 10_000)


def test_files_unpacked_beside_an_archive_are_mended_and_not_written_again(tmp_path: Path) -> None:
    archive = tmp_path / "artifact"
    archive.write_bytes(tarred(tarfile.TarInfo("a"), tarfile.TarInfo("b/c"), content=b"right"))
    folder = archives.unpacked_beside(archive)
    kept = (folder / "a").stat().st_ino
    (folder / "b" / "c").write_bytes(b"wrong")
    assert archives.unpacked_beside(archive) == folder
    assert (folder / "b" / "c").read_bytes() == b"right"
    assert (folder / "a").stat().st_ino == kept
    assert sorted(each.name for each in folder.iterdir()) == ["a", "b"]
