from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.artifacts import archives
from registry.artifacts.cache import ArtifactCache, HeldArtifact
from registry.artifacts.store import ArtifactStore
from registry.errors import ArtifactDamaged, ArtifactMissing, ArtifactStoreUnavailable
from tests.registry.artifacts.test_artifacts import ABSENT, LARGE, place_of
from tests.support.service.environment import REPOSITORY, clean_environment

FETCH = """
import hashlib, sys
from registry.artifacts.cache import ArtifactCache
from registry.artifacts.store import ArtifactStore

most = int(sys.argv.pop(1))
cache = ArtifactCache(sys.argv[2], ArtifactStore(sys.argv[1]), most)
print("ready", flush=True)
sys.stdin.readline()
for key in sys.argv[3:]:
    with cache.hold(key) as held:
        assert hashlib.sha256(held.path.read_bytes()).hexdigest() == key
"""


class RecordingStore(ArtifactStore):
    """Records requests, and can be switched off."""

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


@pytest.fixture
def small(folder: Path, store: RecordingStore) -> ArtifactCache:
    """A cache with room for two models of a thousand bytes."""
    return ArtifactCache(folder, store, 2_500)


def models(store: ArtifactStore, count: int) -> list[str]:
    return [store.put(bytes([number]) * 1_000).sha256 for number in range(count)]


def used_long_ago(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_what_was_used_least_recently_goes_first(small: ArtifactCache, store: RecordingStore, folder: Path) -> None:
    first, second, third, fourth = models(store, 4)
    for number, key in enumerate((first, second)):
        used_long_ago(small.fetch(key), 100 - number)
    small.fetch(first)
    used_long_ago(folder / first, 50)
    assert small.fetch(third).exists()
    assert {path.name for path in folder.iterdir()} == {first, third}
    assert small.fetch(fourth).exists()
    assert {path.name for path in folder.iterdir()} == {third, fourth}


def test_what_is_used_stays_until_it_is_released_or_forgotten(
    small: ArtifactCache, store: RecordingStore, folder: Path
) -> None:
    keys = models(store, 4)
    held = [small.hold(key) for key in keys[:3]]
    assert {path.name for path in folder.iterdir()} == set(keys[:3]), "in use, also over the bound"
    again = small.hold(keys[0])
    held[0].release()
    held[0].release()
    held[1].release()
    del held
    small.fetch(keys[3])
    assert {path.name for path in folder.iterdir()} == {keys[0], keys[3]}
    again.release()


def test_what_is_unpacked_beside_an_artifact_counts_and_goes_with_it(
    small: ArtifactCache, store: RecordingStore, folder: Path
) -> None:
    first, second = models(store, 2)
    unpacked = archives.folder_beside(small.fetch(first))
    (unpacked / "deep").mkdir(parents=True)
    (unpacked / "deep" / "weights").write_bytes(b"w" * 1_000)
    used_long_ago(folder / first, 10)
    small.fetch(second)
    assert [path.name for path in folder.iterdir()] == [second]


def test_downloads_that_go_on_are_left_alone_and_those_of_the_killed_are_not(
    small: ArtifactCache, store: RecordingStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on, other = models(store, 2)
    small.fetch(other)
    left = folder / "incoming-left"
    left.write_bytes(b"half")
    used_long_ago(left, 3_600)

    def slow(sha256: str) -> Iterator[bytes]:
        [incoming] = [path for path in folder.glob("incoming-*") if path != left]
        used_long_ago(incoming, 3_600)
        small.fetch(other)
        assert incoming.exists()
        yield from ArtifactStore.chunks(store, sha256)

    monkeypatch.setattr(store, "chunks", slow)
    assert small.fetch(going_on).exists()
    assert not left.exists()


def test_a_copy_that_another_process_has_put_there_meanwhile_is_kept(
    cache: ArtifactCache, store: RecordingStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [key] = models(store, 1)
    other = ArtifactCache(folder, ArtifactStore(store.url), 1)

    def overtaken(sha256: str) -> Iterator[bytes]:
        held.append(other.hold(sha256))
        yield from ArtifactStore.chunks(store, sha256)

    held: list[HeldArtifact] = []
    monkeypatch.setattr(store, "chunks", overtaken)
    cache.fetch(key)
    other.fetch(store.put(b"another").sha256)
    assert held[0].path.exists(), "its lock still keeps it"


@pytest.mark.slow
@pytest.mark.parametrize("room_bytes", [10**12, 1])
def test_several_processes_fetch_at_once(store: ArtifactStore, folder: Path, room_bytes: int) -> None:
    keys = [store.put(LARGE + bytes([number])).sha256 for number in range(20)]
    command = [sys.executable, "-c", FETCH, str(room_bytes), store.url, str(folder), *keys]
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
    found = {path.name for path in folder.iterdir()}
    assert found == set(keys) if room_bytes > 1 else len(found) <= len(processes)
