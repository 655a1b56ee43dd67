"""Backup and restore of the registry's SQLite file and its artifacts, also while the service runs."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from registry import checking, migrate, settings
from registry.artifacts import private_files
from registry.artifacts.cache import ArtifactCache
from registry.artifacts.store import ArtifactStore, checksum_of
from registry.checking import VersionedArtifact
from registry.database import Database
from registry.errors import BackupImpossible

ReportProgress = Callable[[str], None]
_PROGRESS_INTERVAL = 100


def database_file() -> Path:
    """Return the registry's file.

    Raises:
        BackupImpossible: the registry is in PostgreSQL, which has its own backup programs.
    """
    url = Database(settings.load().database_url).url
    if url.get_backend_name() != "sqlite" or not url.database:
        raise BackupImpossible(
            "The registry is in PostgreSQL, which has its own backup programs: see `queuecast docs operations`."
        )
    return Path(url.database)


def copy_database(target: Path) -> None:
    """Copy a consistent state of the registry's file, also during writes.

    Raises:
        RegistryAbsent: there is no registry.
        BackupImpossible: the file can't be read.
    """
    source = database_file()
    migrate.refuse_absent()
    try:
        private_files.make_file(target)
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
            original.backup(copy)
    except sqlite3.Error as error:
        raise BackupImpossible(f"The registry in {source} can't be copied: {error}.") from error


def artifacts_in(database: Path) -> list[VersionedArtifact]:
    """Return the artifacts in a copy of the registry. Raises RegistryUnavailable."""
    opened = Database(f"sqlite:///{database}")
    try:
        with opened.session() as session:
            return checking.list_artifacts(session)
    finally:
        opened.close()


def copy_artifacts(artifacts: list[VersionedArtifact], folder: Path, report_progress: ReportProgress) -> None:
    """Copy artifacts from the store into a folder; files are named after their checksums, which are verified.

    Raises:
        ArtifactMissing, ArtifactDamaged, ArtifactStoreUnavailable: an artifact can't be read.
    """
    private_files.make_folder(folder)
    copies = ArtifactCache(folder, ArtifactStore(settings.load().artifacts_url))
    for number, each in enumerate(artifacts, start=1):
        copies.fetch(each.sha256)
        if number % _PROGRESS_INTERVAL == 0:
            report_progress(f"{number} of {len(artifacts)} artifacts")


def check_artifacts(artifacts: list[VersionedArtifact], folder: Path) -> None:
    """Verify all copies of artifacts.

    Raises:
        BackupImpossible: a copy is missing or damaged.
    """
    for each in artifacts:
        found = checksum_of(folder / each.sha256)
        if found != each.sha256:
            what = "damaged" if found else "missing"
            raise BackupImpossible(
                f"In the backup, the artifact of {', '.join(each.versions)} is {what}: {each.sha256}."
            )


def refuse_to_replace() -> None:
    """Raise BackupImpossible if there is already a registry."""
    if (path := database_file()).exists():
        raise BackupImpossible(f"There is already a registry in {path}. Move it away, or set QUEUECAST_DATA_DIR.")


def restore(database: Path, artifacts: list[VersionedArtifact], folder: Path) -> None:
    """Store the artifacts, then put the registry in place.

    Raises:
        ArtifactStoreUnavailable, ArtifactStoreFull: the store refuses them.
    """
    store = ArtifactStore(settings.load().artifacts_url)
    for each in artifacts:
        with (folder / each.sha256).open("rb") as file:
            store.put(file)
    target = database_file()
    private_files.make_folder(target.parent)
    put_in_place(database, target)


def put_in_place(source: Path, target: Path) -> None:
    """Copy a file atomically."""
    incoming = target.with_name(f"{target.name}.incoming")
    private_files.make_file(incoming)
    shutil.copyfile(source, incoming)
    with incoming.open("rb") as copied:
        os.fsync(copied.fileno())
    incoming.replace(target)
