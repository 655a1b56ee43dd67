from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from registry.artifacts.store import ArtifactStore
from registry.errors import ArtifactDamaged, ArtifactMissing, ArtifactStoreUnavailable
from tests.support.service.environment import REPOSITORY, clean_environment
from tests.support.waiting import eventually

ABSENT = "a" * 64
LARGE = bytes(range(256)) * 10_000
#: Stores what it reads from stdin.
PUT = "import sys; from registry.artifacts.store import ArtifactStore; ArtifactStore(sys.argv[1]).put(sys.stdin.buffer)"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def place_of(store: ArtifactStore, key: str) -> Path:
    return Path(store.url) / "sha256" / key[:2] / key


@pytest.fixture(params=["folder", "file", "memory"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """A store in a folder, at its URL, and in memory: all file systems of fsspec behave the same."""
    urls = {"folder": f"{tmp_path}/a", "file": f"file://{tmp_path}/a", "memory": f"memory:/{tmp_path}/a"}
    return ArtifactStore(urls[request.param])


@pytest.mark.parametrize("content", [b"", b"model", LARGE], ids=len)
def test_an_artifact_is_found_by_its_checksum(any_store: ArtifactStore, content: bytes) -> None:
    stored = any_store.put(content)
    assert stored == (sha256(content), len(content))
    assert any_store.exists(stored.sha256)
    assert any_store.get(stored.sha256) == content
    assert b"".join(any_store.chunks(stored.sha256)) == content


def test_a_stream_is_stored_as_well(any_store: ArtifactStore) -> None:
    assert any_store.get(any_store.put(BytesIO(LARGE)).sha256) == LARGE


def test_an_artifact_is_stored_once(store: ArtifactStore) -> None:
    assert store.put(b"model") == store.put(BytesIO(b"model"))
    assert files(Path(store.url)) == [place_of(store, sha256(b"model"))]


def test_another_process_finds_it(store: ArtifactStore) -> None:
    assert ArtifactStore(store.url).get(store.put(b"model").sha256) == b"model"


def test_an_artifact_that_is_not_there_is_missing(any_store: ArtifactStore) -> None:
    any_store.put(b"another")
    with pytest.raises(ArtifactMissing, match=ABSENT):
        any_store.get(ABSENT)
    assert not any_store.exists(ABSENT)


def test_a_deleted_artifact_is_gone_and_can_be_deleted_again(any_store: ArtifactStore) -> None:
    key = any_store.put(b"model").sha256
    any_store.delete(key)
    any_store.delete(key)
    assert not any_store.exists(key)


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "A" * 64, "a" * 63, f"{'a' * 64}\n"])
def test_what_is_no_checksum_is_never_looked_for(store: ArtifactStore, key: str) -> None:
    for call in (store.get, store.exists, lambda each: list(store.chunks(each))):
        with pytest.raises(ArtifactMissing):
            call(key)


@pytest.mark.parametrize("damage", [b"", b"mode", b"model!", b"modem"])
def test_damaged_bytes_are_never_returned_and_are_mended_by_storing_again(store: ArtifactStore, damage: bytes) -> None:
    key = store.put(b"model").sha256
    place_of(store, key).write_bytes(damage)
    with pytest.raises(ArtifactDamaged, match=key) as damaged:
        store.get(key)
    assert damaged.value.found_sha256 == sha256(damage)
    store.put(b"model")
    assert store.get(key) == b"model"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("/proc/nobody/artifacts", "doesn't exist"),
        ("/dev/null/artifacts", "can't be reached"),
        ("nonsense://bucket", "can't be reached"),
        ("gs://bucket/artifacts", "requires a library: .*gcsfs"),
    ],
)
def test_a_store_that_can_not_be_used_says_why(url: str, reason: str) -> None:
    with pytest.raises(ArtifactStoreUnavailable, match=reason):
        ArtifactStore(url).put(b"model")


def test_an_unreachable_store_is_not_a_missing_artifact(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = ArtifactStore(f"{tmp_path}/file")
    calls: list[Callable[[], Any]] = [lambda: store.get(ABSENT), lambda: store.delete(ABSENT)]
    for call in calls:
        with pytest.raises(ArtifactStoreUnavailable):
            call()


class Source(BytesIO):
    """Breaks off after its first bytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise ConnectionResetError("the client is gone")
        return super().read(3)


def test_a_source_that_breaks_off_raises_its_own_error_and_leaves_nothing(store: ArtifactStore) -> None:
    with pytest.raises(ConnectionResetError, match="the client is gone"):
        store.put(Source(b"model"))
    assert files(Path(store.url)) == []


class Breaking(LocalFileSystem):  # type: ignore[misc] # it has no types
    """Fails at one of its steps."""

    protocol = "breaking"
    step = ""

    def mv(self, *arguments: Any, **named: Any) -> None:
        self._break("mv")
        super().mv(*arguments, **named)

    def open(self, path: str, mode: str = "rb", **named: Any) -> Any:
        opened = super().open(path, mode, **named)
        if self.step in ("read", "write", "close"):
            does = getattr(opened, self.step)

            def fail(*arguments: Any) -> None:
                does(*arguments)
                self._break(self.step)

            setattr(opened, self.step, fail)
        return opened

    def _break(self, step: str) -> None:
        if self.step == step:
            raise RuntimeError("an error of the file system's own kind")


@pytest.fixture
def breaking(tmp_path: Path) -> ArtifactStore:
    fsspec.register_implementation("breaking", Breaking, clobber=True)
    return ArtifactStore(f"breaking://{tmp_path}/artifacts")


@pytest.mark.parametrize("step", ["write", "close", "mv"])
def test_a_write_that_fails_at_any_step_leaves_nothing(
    breaking: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(Breaking, "step", step)
    with pytest.raises(ArtifactStoreUnavailable, match="can't be reached, read or written"):
        breaking.put(LARGE)
    assert files(tmp_path) == []


def test_a_read_that_fails_is_not_an_artifact(breaking: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    key = breaking.put(LARGE).sha256
    monkeypatch.setattr(Breaking, "step", "read")
    with pytest.raises(ArtifactStoreUnavailable):
        breaking.get(key)


def test_a_writer_that_is_killed_leaves_nothing_under_a_checksum(store: ArtifactStore) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PUT, store.url], stdin=subprocess.PIPE, cwd=REPOSITORY, env=clean_environment()
    ) as writer:
        assert writer.stdin
        writer.stdin.write(LARGE)
        writer.stdin.flush()
        eventually(lambda: [path for path in files(Path(store.url)) if path.stat().st_size], 20)
        writer.kill()
    assert [path.parent.name for path in files(Path(store.url))] == ["incoming"]
    assert not store.exists(sha256(LARGE))
    assert store.get(store.put(LARGE).sha256) == LARGE
