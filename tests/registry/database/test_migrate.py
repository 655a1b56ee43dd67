from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import IntegrityError

from registry import migrate, versions
from registry.artifacts.store import ArtifactStore
from registry.database import Database
from registry.database.tables import Table
from registry.errors import RegistryUnavailable
from tests.registry.conftest import Registrar
from tests.support.service.environment import REPOSITORY, clean_environment
from tests.support.service.ports import free_port

TABLES = {
    *("models", "model_versions", "model_aliases", "alias_moves", "model_tags"),
    *("deployments", "deployment_changes", "api_keys", "environments"),
    *("candidates", "evaluations", "shadows", "rollouts", "rollout_events", "webhook_subscriptions"),
}


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with closing(Database(database_url)) as database, database.engine.connect() as connection:
        yield connection.execution_options(isolation_level="AUTOCOMMIT")


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


def started(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "registry.migrate"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=REPOSITORY, env=clean_environment(DATABASE_URL=url),
    )  # fmt: skip


def test_from_empty_to_head_and_back_and_to_head_again(
    database_url: str, connection: Connection, store: ArtifactStore
) -> None:
    assert migrate.current(database_url) is None
    for _ in range(2):
        migrate.upgrade(database_url)
        assert migrate.current(database_url) == migrate.head() is not None
        assert tables(connection) == TABLES
        with closing(Database(database_url)) as database, database.session() as session:
            assert Registrar(session, store)().version == "1"
            session.commit()
        migrate.downgrade(database_url, "base")
        assert migrate.current(database_url) is None
        assert tables(connection) == set()


def test_an_upgrade_of_what_is_at_head_changes_nothing(database: Database, add: Registrar) -> None:
    add("m")
    add.session.commit()
    migrate.upgrade(database.url.render_as_string(hide_password=False))
    with database.session() as session:
        assert versions.get_version(session, "m", "1").version == "1"


def test_events_before_subscriptions_are_no_news(database_url: str, connection: Connection) -> None:
    migrate.upgrade(database_url)
    migrate.downgrade(database_url, "0005")
    columns = "id, endpoint_name, model_name, version, stable_version, share, options, state"
    columns += ", started_at, stopped_at, revision"
    for name, stopped_at in (("old", "'2026-11-29'"), ("new", "NULL")):
        values = f"'{name}', 'e', 'm', '2', '1', 1.0, '{{}}', 'running', '2026-11-28', {stopped_at}, 1"
        connection.execute(text(f"INSERT INTO shadows ({columns}) VALUES ({values})"))
    migrate.upgrade(database_url)
    found = connection.execute(text("SELECT id FROM shadows WHERE announced_at IS NULL")).scalars().all()
    assert found == ["new"]


def test_the_migrated_schema_is_that_of_the_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, Table.metadata) == []


def test_the_names_of_migrated_constraints_are_those_of_the_tables(database: Database) -> None:
    inspector = inspect(database.engine)
    for table in Table.metadata.sorted_tables:
        named = {each["name"] for each in inspector.get_check_constraints(table.name)}
        named |= {each["name"] for each in inspector.get_foreign_keys(table.name)}
        named |= {each["name"] for each in inspector.get_unique_constraints(table.name)}
        named.add(inspector.get_pk_constraint(table.name)["name"])
        assert named == {str(each.name) for each in table.constraints}


def test_only_an_intent_that_is_known_can_be_stored(database: Database, add: Registrar) -> None:
    add("m")
    add.session.commit()
    values = "'e', 'm', '1', '{}', 'default', 'burn', 1, '2026-01-01', '2026-01-01', NULL"
    with pytest.raises(IntegrityError, match="ck_deployments_intent"), database.engine.begin() as connection:
        connection.execute(text(f"INSERT INTO deployments VALUES ({values})"))


@pytest.mark.slow
def test_several_processes_can_migrate_at_once(database_url: str, connection: Connection) -> None:
    processes = [started(database_url) for _ in range(3)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, outputs
    assert all(f"is at {migrate.head()}" in said for said, _ in outputs)
    assert tables(connection) == TABLES


def test_a_migration_that_fails_changes_nothing(database_url: str, connection: Connection) -> None:
    connection.execute(text("CREATE TABLE deployments (of_another_program TEXT)"))
    with pytest.raises(RegistryUnavailable, match="another program's tables"):
        migrate.upgrade(database_url)
    assert inspect(connection).get_table_names() == ["deployments"]
    assert migrate.current(database_url) is None


def test_a_database_of_a_newer_release_is_left_alone(database_url: str, connection: Connection) -> None:
    migrate.upgrade(database_url)
    connection.execute(text("UPDATE alembic_version SET version_num = 'ffff'"))
    with pytest.raises(RegistryUnavailable, match="newer release, to revision 'ffff'"):
        migrate.upgrade(database_url)
    with pytest.raises(RegistryUnavailable, match="newer release"):
        migrate.downgrade(database_url, "base")
    assert tables(connection) == TABLES


def test_the_command_says_what_it_did(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert migrate.main() == 0
    assert migrate.main() == 0
    head = migrate.head()
    assert capsys.readouterr().out.splitlines() == [
        f"The registry database is at {head} (was: empty).",
        f"The registry database is at {head}.",
    ]
    assert (data_dir / "registry.db").exists()


@pytest.mark.slow
def test_the_command_fails_with_one_line() -> None:
    process = started(f"postgresql://u:secret@127.0.0.1:{free_port()}/db")
    said, problem = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "")
    assert problem == "The registry database can't be reached, or is busy; try again.\n"
