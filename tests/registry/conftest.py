"""A migrated database, a store and a cache of each test's own; small models that are fitted once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from registry import examples, migrate, registration, runtimes, versions
from registry.artifacts.cache import ArtifactCache
from registry.artifacts.store import ArtifactStore
from registry.database import Database
from registry.database.tables import Table
from registry.examples import Example
from registry.registration import register
from registry.runtimes.protocol import Model
from registry.versions import ModelVersion
from tests.support.servers.postgres import PostgresCluster


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file at the newest revision; tests copy it."""
    path = tmp_path_factory.mktemp("migrated") / "registry.db"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgres_url(postgres_cluster: PostgresCluster) -> str:
    """The URL of a PostgreSQL database at the newest revision; each test empties it."""
    url = postgres_cluster.create_database()
    migrate.upgrade(url)
    return url


@pytest.fixture
def postgres_database(migrated_postgres_url: str) -> Iterator[Database]:
    """A migrated, empty database on PostgreSQL."""
    database = Database(migrated_postgres_url)
    _empty(database)
    yield database
    database.close()


def _empty(database: Database) -> None:
    """Delete all rows, and begin all numbers anew: TRUNCATE makes files, and is slower for few rows."""
    deletes = [f"DELETE FROM {table.name}" for table in reversed(Table.metadata.sorted_tables)]
    restarts = "SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'"
    with database.engine.begin() as connection:
        connection.exec_driver_sql("; ".join(["SET LOCAL lock_timeout = '5s'", *deletes, restarts]))


@pytest.fixture
def sqlite_database(migrated_file: Path, tmp_path: Path) -> Iterator[Database]:
    """A migrated, empty database on SQLite."""
    shutil.copy(migrated_file, tmp_path / "registry.db")
    database = Database(f"sqlite:///{tmp_path}/registry.db")
    yield database
    database.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> Database:
    """A migrated, empty database: the test runs once on SQLite and once on PostgreSQL."""
    database: Database = request.getfixturevalue(f"{request.param}_database")
    return database


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


class RoundTrip:
    """Registers models, and loads them as a host does: from the stored artifact, as the version says."""

    def __init__(self, session: Session, cache: ArtifactCache, store: ArtifactStore) -> None:
        self.session = session
        self.cache = cache
        self.store = store

    def register(self, model: Any, name: str = "model", **named: Any) -> ModelVersion:
        return register(self.session, name, model, store=self.store, **named)

    def load(self, version: ModelVersion, path: Path) -> Model:
        return runtimes.load(version.runtime, path, version.runtime_options, version.signature)

    def __call__(self, model: Any, **named: Any) -> Model:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(registration, "_try", lambda *_: None)  # the test itself loads it and predicts
            version = self.register(model, **named)
        return self.load(version, self.cache.fetch(version.artifact_sha256))


@pytest.fixture
def round_trip(sqlite_database: Database, cache: ArtifactCache, store: ArtifactStore) -> Iterator[RoundTrip]:
    with sqlite_database.session() as session:
        yield RoundTrip(session, cache, store)


@pytest.fixture(scope="session")
def built_examples() -> dict[str, Example]:
    return {name: examples.build(name) for name in examples.NAMES}
