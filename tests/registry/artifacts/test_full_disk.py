"""A full disk: a specific error, earlier data stays, nothing partial is left."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from psycopg.errors import DiskFull
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from api.errors import status_of
from registry import migrate, versions
from registry.artifacts.cache import ArtifactCache
from registry.artifacts.store import ArtifactStore
from registry.database import Database
from registry.errors import ArtifactStoreFull, RegistryFull
from tests.registry.conftest import Registrar
from tests.support.servers.postgres import PostgresCluster
from tests.support.service.environment import REPOSITORY, clean_environment

SMALL_BYTES = 1 << 20
LARGE_ARTIFACT = os.urandom(2 * SMALL_BYTES)
#: Fills the registry and then the store until the process may not make a file larger.
FILL_WITHIN_A_LIMIT = """
import resource, sys
from registry.artifacts.store import ArtifactStore
from registry.database import Database
from registry.errors import ArtifactStoreFull
from tests.registry.artifacts.test_full_disk import fill

database, store = Database(sys.argv[1]), ArtifactStore(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
error = fill(database, store)
print(error.__cause__.orig.sqlite_errorname)
try:
    store.put(b"x" * 300_001)
except ArtifactStoreFull as error:
    print(error.__cause__.strerror)
"""


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of a megabyte; where none can be mounted the test is skipped."""
    folder = Path(tempfile.mkdtemp(prefix="queuecast-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES},mode=777", "none", str(folder)]
    mounted = shutil.which("mount") and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    folder.chmod(0o777)
    if mounted:
        yield folder
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    folder.rmdir()
    if not mounted:
        pytest.skip("a small disk can't be mounted here")


def fill(database: Database, store: ArtifactStore) -> RegistryFull:
    """Add versions until there is no room; check that exactly those that were committed are there."""
    committed = 0
    try:
        for _ in range(200):
            with database.session() as session:
                Registrar(session, store)(metadata={"random": os.urandom(25_000).hex()})
                session.commit()
            committed += 1
    except RegistryFull as error:
        with database.session() as session:
            assert versions.get_model(session, "model").version_count == committed > 0
        return error
    raise AssertionError("there was room for everything")


def test_a_full_registry_has_an_error_of_its_own_that_says_what_to_do(
    sqlite_database: Database, store: ArtifactStore
) -> None:
    @event.listens_for(sqlite_database.engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 40}")

    error = fill(sqlite_database, store)
    assert (error.code, status_of(error)) == ("registry_full", 507)
    assert "Make room for it and try again" in str(error)
    assert "database or disk is full" not in str(error)


def test_a_registry_goes_on_when_there_is_room_again(small_disk: Path, store: ArtifactStore) -> None:
    (small_disk / "filler").write_bytes(bytes(SMALL_BYTES // 2))
    url = f"sqlite:///{small_disk}/registry.db"
    migrate.upgrade(url)
    with closing(Database(url)) as database:
        fill(database, store)
        (small_disk / "filler").unlink()
        with database.session() as session:
            Registrar(session, store)("after")
            session.commit()


def test_a_migration_without_room_has_the_same_error(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        (small_disk / "filler").write_bytes(LARGE_ARTIFACT)
    with pytest.raises(RegistryFull):
        migrate.upgrade(f"sqlite:///{small_disk}/registry.db")


@pytest.mark.slow
def test_a_limit_of_a_process_is_a_full_disk_too(sqlite_database: Database, store: ArtifactStore) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILL_WITHIN_A_LIMIT, str(sqlite_database.url), store.url],
        cwd=REPOSITORY, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["SQLITE_IOERR_WRITE", "File too large"], done.stderr


@pytest.mark.postgres
def test_a_full_disk_of_postgresql(
    small_disk: Path, postgres_cluster: PostgresCluster, postgres_url: str, store: ArtifactStore
) -> None:
    if postgres_cluster._owner:
        shutil.chown(small_disk, postgres_cluster._owner)
    migrate.upgrade(postgres_url)
    with closing(Database(postgres_url)) as database, database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
        connection.exec_driver_sql("ALTER TABLE model_versions SET TABLESPACE small")
        error = fill(database, store)
        connection.exec_driver_sql("DROP TABLE candidates, deployments, model_aliases, model_versions")
        connection.exec_driver_sql("DROP TABLESPACE small")
    assert isinstance(error.__cause__, DBAPIError)
    assert isinstance(error.__cause__.orig, DiskFull)
    assert "Make room for it" in str(error)


def test_a_full_artifact_store_has_an_error_of_its_own_and_keeps_nothing_half_written(small_disk: Path) -> None:
    store = ArtifactStore(str(small_disk / "artifacts"))
    before = store.put(b"before")
    with pytest.raises(ArtifactStoreFull, match="The artifact store has no room") as full:
        store.put(LARGE_ARTIFACT)
    assert (full.value.code, status_of(full.value)) == ("artifact_store_full", 507)
    assert [path.name for path in small_disk.rglob("*") if path.is_file()] == [before.sha256]
    assert store.get(before.sha256) == b"before"
    assert store.put(b"small enough").size_bytes == 12


def test_a_full_disk_of_the_cache_is_named_and_keeps_nothing_half_written(
    small_disk: Path, store: ArtifactStore
) -> None:
    cache = ArtifactCache(small_disk / "cache", store)
    with pytest.raises(ArtifactStoreFull, match="The artifact cache has no room"):
        cache.fetch(store.put(LARGE_ARTIFACT).sha256)
    assert list((small_disk / "cache").iterdir()) == []
    assert cache.fetch(store.put(b"small").sha256).read_bytes() == b"small"


class FullDisk(LocalFileSystem):  # type: ignore[misc] # it has no types
    """Whatever is written to it meets the kernel's own full device."""

    protocol = "fulldisk"

    def _open(self, path: str, mode: str = "rb", **named: Any) -> Any:
        return open("/dev/full", mode) if "w" in mode else super()._open(path, mode, **named)  # noqa: PTH123


@pytest.mark.parametrize("size_bytes", [1, 5 << 20])
def test_a_full_device_is_noticed_however_late_the_bytes_are_written(tmp_path: Path, size_bytes: int) -> None:
    fsspec.register_implementation("fulldisk", FullDisk, clobber=True)
    with pytest.raises(ArtifactStoreFull):
        ArtifactStore(f"fulldisk://{tmp_path}/artifacts").put(bytes(size_bytes))


def test_a_disk_that_is_full_only_when_it_is_asked_to_keep_the_bytes(
    store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ArtifactStoreFull):
        store.put(b"model")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
