from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.artifacts import ArtifactCache, ArtifactStore
from registry.errors import ArtifactDamaged, ArtifactMissing, ArtifactStoreUnavailable
from tests.registry.test_artifacts import ABSENT, LARGE, place_of
from tests.support.environment import REPOSITORY, clean_environment

FETCH = """
import hashlib, sys
from registry.artifacts import ArtifactCache, ArtifactStore

cache = ArtifactCache(sys.argv[2], ArtifactStore(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for key in sys.argv[3:]:
    assert hashlib.sha256(cache.fetch(key).read_bytes()).hexdigest() == key
"""


class RecordingStore(ArtifactStore):
    """Remembers what it was asked for, and can be switched off."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked: list[str] = []
        self.reachable = True

    def chunks(self, sha256: str) -> Iterator[bytes]:
        self.asked.append(sha256)
        if not self.reachable:
            raise ArtifactStoreUnavailable("switched off")
        return super().chunks(sha256)


@pytest.fixture
def store(tmp_path: Path) -> RecordingStore:
    return RecordingStore(str(tmp_path / "artifacts"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache"


@pytest.fixture
def cache(folder: Path, store: RecordingStore) -> ArtifactCache:
    return ArtifactCache(folder, store)


def test_an_artifact_is_fetched_once_and_then_found_here(cache: ArtifactCache, store: RecordingStore) -> None:
    key = store.put(LARGE).sha256
    path = cache.fetch(key)
    assert path.read_bytes() == LARGE
    store.reachable = False
    assert cache.fetch(key) == path
    assert store.asked == [key]


def test_nobody_else_can_change_what_will_be_loaded(cache: ArtifactCache, store: RecordingStore, folder: Path) -> None:
    path = cache.fetch(store.put(b"model").sha256)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", [b"", b"mode", b"model!", b"modem"])
def test_a_damaged_copy_is_fetched_again(cache: ArtifactCache, store: RecordingStore, damage: bytes) -> None:
    key = store.put(b"model").sha256
    cache.fetch(key).write_bytes(damage)
    assert cache.fetch(key).read_bytes() == b"model"
    assert len(store.asked) == 2


def test_a_damaged_copy_is_not_served_when_the_store_is_away(cache: ArtifactCache, store: RecordingStore) -> None:
    key = store.put(b"model").sha256
    cache.fetch(key).write_bytes(b"damaged")
    store.reachable = False
    with pytest.raises(ArtifactStoreUnavailable):
        cache.fetch(key)


def test_a_good_copy_is_served_when_the_store_is_damaged(cache: ArtifactCache, store: RecordingStore) -> None:
    key = store.put(b"model").sha256
    cache.fetch(key)
    place_of(store, key).write_bytes(b"damaged")
    assert cache.fetch(key).read_bytes() == b"model"


def test_damaged_bytes_of_the_store_are_refused_and_leave_nothing(
    cache: ArtifactCache, store: RecordingStore, folder: Path
) -> None:
    key = store.put(b"model").sha256
    place_of(store, key).write_bytes(b"damaged")
    for _ in range(2):
        with pytest.raises(ArtifactDamaged, match="register the model again"):
            cache.fetch(key)
    assert list(folder.iterdir()) == []


def test_a_fetch_that_breaks_off_leaves_nothing(
    cache: ArtifactCache, store: RecordingStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(_sha256: str) -> Iterator[bytes]:
        yield b"mo"
        raise ArtifactStoreUnavailable("gone")

    key = store.put(b"model").sha256
    monkeypatch.setattr(store, "chunks", break_off)
    with pytest.raises(ArtifactStoreUnavailable):
        cache.fetch(key)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("key", [ABSENT, "", "../../etc/passwd", "/etc/passwd"])
def test_what_the_store_does_not_have_is_missing(cache: ArtifactCache, store: RecordingStore, key: str) -> None:
    with pytest.raises(ArtifactMissing):
        cache.fetch(key)


def test_a_cache_that_can_not_be_used_says_why(store: RecordingStore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactStoreUnavailable, match="artifact cache can't be used: Not a directory"):
        ArtifactCache(tmp_path / "file", store).fetch(store.put(b"model").sha256)


def test_a_folder_in_the_place_of_a_copy_is_an_unusable_cache(
    cache: ArtifactCache, store: RecordingStore, folder: Path
) -> None:
    key = store.put(b"model").sha256
    (folder / key).mkdir(parents=True)
    with pytest.raises(ArtifactStoreUnavailable, match="artifact cache can't be used: Is a directory"):
        cache.fetch(key)


def test_several_processes_fetch_at_once(store: ArtifactStore, folder: Path) -> None:
    keys = [store.put(LARGE + bytes([number])).sha256 for number in range(20)]
    command = [sys.executable, "-c", FETCH, store.url, str(folder), *keys]
    processes = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env=clean_environment()
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.communicate("go\n", timeout=60)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert {path.name for path in folder.iterdir()} == set(keys)
