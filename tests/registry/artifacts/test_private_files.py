"""No other user can read the files of the service, whatever the umask is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import migrate
from registry.artifacts import private_files
from registry.artifacts.store import ArtifactStore
from registry.database import Database
from registry.database.tables import Table
from registry.upkeep import backup
from tests.support.open_paths import mode_of, open_paths
from tests.support.service.environment import forget_cached_settings


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def migrated(path: Path) -> Database:
    database = Database(f"sqlite:///{path}")
    Table.metadata.create_all(database.engine)
    return database


def test_the_registry_s_files_are_their_user_s_alone(tmp_path: Path) -> None:
    database = migrated(tmp_path / "data" / "registry.db")
    with database.session():
        files = list((tmp_path / "data").iterdir())
        assert {each.name for each in files} == {"registry.db", "registry.db-wal", "registry.db-shm"}
        assert {mode_of(each) for each in files} == {0o600}
        assert mode_of(tmp_path / "data") == 0o700
    database.close()


@pytest.mark.parametrize(("before", "after"), [(0o644, 0o600), (0o640, 0o640), (0o664, 0o660), (0o600, 0o600)])
def test_a_registry_of_an_earlier_release_is_closed_to_others(tmp_path: Path, before: int, after: int) -> None:
    path = tmp_path / "registry.db"
    migrated(path).close()
    path.chmod(before)
    database = migrated(path)
    assert mode_of(path) == after
    database.close()


def test_artifacts_and_the_folders_around_them_are_closed(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path / "data" / "artifacts"))
    key = store.put(b"model").sha256
    assert open_paths(tmp_path / "data") == []
    path = next((tmp_path / "data").rglob(key))
    assert {mode_of(each) for each in (path, *path.parents[:2])} == {0o600, 0o700}


def test_who_shares_a_closed_folder_with_a_group_shares_what_comes_into_it(tmp_path: Path) -> None:
    root = tmp_path / "artifacts"
    root.mkdir()
    root.chmod(0o2750)
    store = ArtifactStore(str(root))
    path = next(root.rglob(store.put(b"model").sha256))
    assert (mode_of(path), mode_of(path.parent)) == (0o640, 0o2750)


def test_copies_in_a_backup_and_out_of_it_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "data" / "registry.db"
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{source}")
    forget_cached_settings()
    migrate.upgrade()
    backup.copy_database(tmp_path / "copy.db")
    backup.put_in_place(tmp_path / "copy.db", tmp_path / "back.db")
    assert mode_of(tmp_path / "copy.db") == mode_of(tmp_path / "back.db") == 0o600


def test_what_is_another_s_or_not_there_is_left_alone(tmp_path: Path) -> None:
    private_files.close_to_others(tmp_path / "absent")
    private_files.make_folder(tmp_path)
    private_files.make_file(tmp_path / "file")
    (tmp_path / "file").write_text("kept")
    private_files.make_file(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"
    with pytest.raises(FileExistsError):
        private_files.make_folder(tmp_path / "file")
