"""The registry is copied into another database, whole or not at all: SQLite to PostgreSQL, and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from registry import deployments, migrate, versions
from registry.access import api_keys
from registry.artifacts.store import ArtifactStore
from registry.catalog import aliases, tags
from registry.database import Database
from registry.database.tables import Table as OwnTable
from registry.errors import CopyRefused, RegistryAbsent, RegistryUnavailable
from registry.upkeep import copying
from tests.support.servers.postgres import PostgresCluster
from tests.support.service.environment import forget_cached_settings

EXAMPLE = {"text": 'a "ß" 🚕\n', "numbers": [1, 2.5, -1e300], "none": None}


@pytest.fixture
def urls(postgres_cluster: PostgresCluster, tmp_path: Path) -> Iterator[dict[str, str]]:
    postgres = postgres_cluster.create_database()
    yield {"sqlite": f"sqlite:///{tmp_path}/made/registry.db", "postgres": postgres}
    postgres_cluster.drop_database(postgres)


@pytest.fixture(params=[("sqlite", "postgres"), ("postgres", "sqlite")], ids="-to-".join)
def pair(request: pytest.FixtureRequest, urls: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A filled registry, which the settings name, and where it is to go."""
    source, target = (urls[name] for name in request.param)
    monkeypatch.setenv("DATABASE_URL", source)
    forget_cached_settings()
    migrate.upgrade(source)
    fill(source)
    return source, target


def fill(url: str) -> None:
    database = Database(url)
    with database.session() as session:
        store = ArtifactStore("memory://copied")
        for _ in range(3):
            versions.add_version(
                session, store, "house", b"x", runtime="python", input_example=[1.0], metadata={"deep": EXAMPLE}
            )
        versions.add_version(session, store, "other", b"y", runtime="python", version="named", input_example="text")
        versions.delete_version(session, "house", "2")
        deployments.deploy(session, "house", endpoint_name="prod", settings={"hosts": 2, "max_batch_size": "auto"})
        deployments.deploy(session, "other", endpoint_name="gone")
        deployments.undeploy(session, "gone", "park")
        aliases.move(session, "house", "champion", "3")
        tags.change(session, "house", {"owner": "risk"})
        api_keys.create(session, "shop", api_keys.Role.CLIENT, endpoint_names=["prod"], rate_limit_per_s=2.5)
        api_keys.create(session, "me", api_keys.Role.ADMIN)
        api_keys.revoke(session, "me")
        session.commit()
    database.close()


def rows(url: str) -> dict[str, list[Any]]:
    database = Database(url)
    with database.engine.connect() as connection:
        found = {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in OwnTable.metadata.sorted_tables
        }
    database.close()
    return found


@pytest.mark.postgres
def test_every_row_of_every_table_is_in_the_copy(pair: tuple[str, str]) -> None:
    source, target = pair
    before = rows(source)
    counts = copying.copy(target)
    assert rows(target) == before == rows(source)
    assert counts == {name: len(found) for name, found in before.items()}
    assert {name: counts[name] for name in ("models", "model_versions", "deployments", "api_keys")} == {
        "models": 2, "model_versions": 4, "deployments": 2, "api_keys": 2,
    }  # fmt: skip
    assert migrate.current(target) == migrate.head()


@pytest.mark.postgres
def test_the_copy_numbers_new_rows_after_the_copied_ones(pair: tuple[str, str]) -> None:
    _, target = pair
    copying.copy(target)
    database = Database(target)
    with database.session() as session:
        store = ArtifactStore("memory://copied")
        added = versions.add_version(session, store, "house", b"z", runtime="python", input_example=[1.0])
        session.commit()
        assert added.version == "4"
        assert [each.version for each in versions.get_model(session, "house").versions] == ["1", "3", "4"]
    database.close()


@pytest.mark.postgres
def test_a_target_with_rows_is_refused_and_left_as_it_is(pair: tuple[str, str]) -> None:
    _, target = pair
    copying.copy(target)
    before = rows(target)
    with pytest.raises(CopyRefused, match=r"rows already, in .*models"):
        copying.copy(target)
    assert rows(target) == before


@pytest.mark.postgres
def test_a_target_of_an_earlier_release_with_rows_is_left_at_its_revision(pair: tuple[str, str]) -> None:
    _, target = pair
    migrate.upgrade(target, "0002")
    database = Database(target)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO models (name, last_number, created_at) VALUES ('m', 0, '2026-01-01')")
    database.close()
    with pytest.raises(CopyRefused, match="rows already, in models"):
        copying.copy(target)
    assert migrate.current(target) == "0002"


@pytest.mark.postgres
def test_what_is_written_meanwhile_is_in_the_copy_whole_or_not_at_all(pair: tuple[str, str]) -> None:
    """Another program deploys a new model between the first table and the last."""
    source, target = pair
    before = rows(source)
    other = Database(source)

    def write_meanwhile(text: str) -> None:
        if text.startswith("models:"):
            with other.session() as session:
                versions.add_version(
                    session, ArtifactStore("memory://copied"), "late", b"l", runtime="python", input_example=[1.0]
                )
                session.commit()

    copying.copy(target, write_meanwhile)
    other.close()
    assert rows(target) == before
    assert len(rows(source)["models"]) == 3


@pytest.mark.postgres
def test_a_copy_that_breaks_off_leaves_no_row_and_can_be_made_again(pair: tuple[str, str]) -> None:
    _, target = pair

    def break_off(text: str) -> None:
        if text.startswith("deployments:"):
            raise RegistryUnavailable("broken off")

    with pytest.raises(RegistryUnavailable, match="broken off"):
        copying.copy(target, break_off)
    assert not any(rows(target).values())
    assert copying.copy(target)["deployments"] == 2


@pytest.mark.postgres
def test_a_row_that_differs_in_the_copy_is_noticed(pair: tuple[str, str]) -> None:
    _, target = pair
    database = Database(target)
    migrate.upgrade(target)
    with database.engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(
                "CREATE TRIGGER t AFTER INSERT ON models BEGIN UPDATE models SET last_number = 7; END"
            )
        else:
            connection.exec_driver_sql(
                "CREATE FUNCTION f() RETURNS trigger AS 'BEGIN NEW.last_number = 7; RETURN NEW; END' LANGUAGE plpgsql"
            )
            connection.exec_driver_sql("CREATE TRIGGER t BEFORE INSERT ON models FOR EACH ROW EXECUTE FUNCTION f()")
    database.close()
    with pytest.raises(CopyRefused, match="models differ"):
        copying.copy(target)
    assert not any(rows(target).values())


def test_what_can_not_be_copied_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/registry.db"
    monkeypatch.setenv("DATABASE_URL", url)
    forget_cached_settings()
    with pytest.raises(RegistryAbsent, match=r"There is no registry in .*registry\.db"):
        copying.copy(f"sqlite:///{tmp_path}/other.db")
    assert not any(tmp_path.iterdir())
    migrate.upgrade(url)
    with pytest.raises(CopyRefused, match="itself"):
        copying.copy(url)
    database = Database(url)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE newer (id INTEGER PRIMARY KEY)")
    database.close()
    with pytest.raises(CopyRefused, match="newer"):
        copying.copy(f"sqlite:///{tmp_path}/other.db")
    migrate.downgrade(url, "0001")
    with pytest.raises(CopyRefused, match=r"queuecast migrate"):
        copying.copy(f"sqlite:///{tmp_path}/other.db")
