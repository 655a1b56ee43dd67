"""A migrated database, a store and a cache of each test's own; small models that are fitted once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from registry import examples, migrate, versions
from registry.artifacts import ArtifactCache, ArtifactStore
from registry.database import Database
from registry.examples import Example
from registry.versions import ModelVersion


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file at the newest revision; tests copy it."""
    path = tmp_path_factory.mktemp("migrated") / "registry.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def database(database_url: str, migrated_file: Path) -> Iterator[Database]:
    """A migrated database: the test runs once on SQLite and once on PostgreSQL."""
    if database_url.startswith("sqlite:///"):
        shutil.copy(migrated_file, database_url.removeprefix("sqlite:///"))
    else:
        migrate.upgrade(database_url)
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    with database.session() as session:
        yield session


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"))


@pytest.fixture
def cache(tmp_path: Path, store: ArtifactStore) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache", store)


class Registrar:
    """Adds versions whose artifacts nobody loads."""

    def __init__(self, session: Session, store: ArtifactStore) -> None:
        self.session = session
        self.store = store

    def __call__(self, name: str = "model", version: str | None = None, **named: Any) -> ModelVersion:
        named = {"runtime": "python", "input_example": [1.0, 2.0], "artifact": b"model", **named}
        return versions.add_version(self.session, self.store, name, version=version, **named)


@pytest.fixture
def add(session: Session, store: ArtifactStore) -> Registrar:
    return Registrar(session, store)


@pytest.fixture(scope="session")
def built_examples() -> dict[str, Example]:
    return {name: examples.build(name) for name in examples.NAMES}
