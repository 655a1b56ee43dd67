"""Copies of the registry's SQLite file and of the artifacts that it names, made while the service runs; and back."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from registry import checking, settings
from registry.artifacts import ArtifactCache, ArtifactStore, checksum_of
from registry.checking import Named
from registry.database import Database
from registry.errors import BackupImpossible

Tell = Callable[[str], None]
_TELL_EVERY = 100


def database_file() -> Path:
    """Return the registry's file.

    Raises:
        BackupImpossible: it is in PostgreSQL, which has programs of its own for this.
    """
    url = Database(settings.load().database_url).url
    if url.get_backend_name() != "sqlite" or not url.database:
        raise BackupImpossible(
            "The registry is in PostgreSQL, whose own programs back it up: docs/operations.md has the commands."
        )
    return Path(url.database)


def copy_database(target: Path) -> None:
    """Copy the registry's file as it is at one moment, whoever writes to it meanwhile.

    Raises:
        BackupImpossible: there is none, or it can't be read.
    """
    source = database_file()
    if not source.exists():
        raise BackupImpossible(
            f"There is no registry in {source}: QUEUECAST_DATA_DIR says where the service's data is."
        )
    try:
        with closing(sqlite3.connect(source)) as original, closing(sqlite3.connect(target)) as copy:
            original.backup(copy)
    except sqlite3.Error as error:
        raise BackupImpossible(f"The registry in {source} can't be copied: {error}.") from error


def artifacts_in(database: Path) -> list[Named]:
    """Return the artifacts that a copy of the registry names. Raises RegistryUnavailable."""
    opened = Database(f"sqlite:///{database}")
    try:
        with opened.session() as session:
            return checking.named(session)
    finally:
        opened.close()


def copy_artifacts(artifacts: list[Named], folder: Path, tell: Tell) -> None:
    """Copy artifacts from the store into a folder, each file named after its checksum, which is verified.

    Raises:
        ArtifactMissing, ArtifactDamaged, ArtifactStoreUnavailable: one can't be had.
    """
    folder.mkdir(exist_ok=True)
    copies = ArtifactCache(folder, ArtifactStore(settings.load().artifacts_url))
    for number, each in enumerate(artifacts, start=1):
        copies.fetch(each.sha256)
        if number % _TELL_EVERY == 0:
            tell(f"{number} of {len(artifacts)} artifacts")


def check_artifacts(artifacts: list[Named], folder: Path) -> None:
    """Read all copies of artifacts.

    Raises:
        BackupImpossible: one is not there, or not what it was.
    """
    for each in artifacts:
        found = checksum_of(folder / each.sha256)
        if found != each.sha256:
            what = "damaged" if found else "not there"
            raise BackupImpossible(
                f"In the backup, the artifact of {', '.join(each.versions)} is {what}: {each.sha256}."
            )


def refuse_to_replace() -> None:
    """Look whether there is a registry already. Raises BackupImpossible."""
    if (path := database_file()).exists():
        raise BackupImpossible(f"There is a registry in {path} already. Move it away, or set QUEUECAST_DATA_DIR.")


def restore(database: Path, artifacts: list[Named], folder: Path) -> None:
    """Put artifacts into the store, then the registry into its place.

    Raises:
        ArtifactStoreUnavailable, ArtifactStoreFull: the store doesn't take them.
    """
    store = ArtifactStore(settings.load().artifacts_url)
    for each in artifacts:
        with (folder / each.sha256).open("rb") as file:
            store.put(file)
    target = database_file()
    target.parent.mkdir(parents=True, exist_ok=True)
    put_in_place(database, target)


def put_in_place(source: Path, target: Path) -> None:
    """Copy a file so that it is there whole or not at all."""
    incoming = target.with_name(f"{target.name}.incoming")
    shutil.copyfile(source, incoming)
    with incoming.open("rb") as copied:
        os.fsync(copied.fileno())
    incoming.replace(target)
