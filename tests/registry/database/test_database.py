from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from registry import database as database_module
from registry import versions
from registry.artifacts.store import ArtifactStore
from registry.database import Database, default_database
from registry.database import sqlite as sqlite_engine
from registry.errors import RegistryUnavailable, SettingsWrong
from tests.registry.conftest import Registrar
from tests.support.servers.postgres import PostgresCluster
from tests.support.service.environment import REPOSITORY, clean_environment
from tests.support.service.ports import free_port
from tests.support.waiting import eventually

#: The longest that a caller on a busy machine waits for a database that doesn't answer.
MOST_S = 3.5

FORKS = """
import os, sys
from registry import versions
from registry.database import sqlite
from registry.database import Database

database = Database(sys.argv[1])

def names():
    with database.session() as session:
        return [each.name for each in versions.list_models(session)]

assert names() == ["m"]
inherited = database.engine.pool.checkedin()
assert inherited == 1
child = os.fork()
if child == 0:
    found = names()
    os._exit(0 if found == ["m"] and database.engine.pool.checkedin() == 1 else 1)
assert names() == ["m"]
_, status = os.waitpid(child, 0)
# A child that ended its inherited connection would have ended the parent's.
assert names() == ["m"]
print("child", status, "connections", database.engine.pool.checkedin())
"""


def refusal(call: Callable[[], object]) -> RegistryUnavailable:
    """Return the error, which doesn't contain the driver's text, and has the driver's error as its cause."""
    with pytest.raises(RegistryUnavailable) as refused:
        call()
    assert refused.value.__cause__ is not None
    cause = refused.value.__cause__
    said = str(cause.orig) if isinstance(cause, DBAPIError) else str(cause)
    assert said.splitlines()[0] not in str(refused.value)
    return refused.value


def names_in(database: Database) -> list[str]:
    with database.session() as session:
        return [each.name for each in versions.list_models(session)]


def models_of(url: str) -> list[str]:
    with closing(Database(url)) as database:
        return names_in(database)


def write(database: Database, store: ArtifactStore) -> None:
    with database.session() as session:
        Registrar(session, store)()
        session.commit()


def end_connection(database: Database, process_id: int | None) -> None:
    with database.engine.connect() as other:
        assert other.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": process_id})


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "is not a URL"),
        ("registry.db", "is not a URL"),
        ("mysql://u:secret@host/db", "'mysql'; sqlite and postgresql are supported"),
        ("postgresql+asyncpg://host/db", "'postgresql\\+asyncpg'"),
        ("postgresql://u:secret@host:port/db", "is not a URL"),
        ("postgresql://u:secret@host/db?speed=high", "'speed', which PostgreSQL doesn't support"),
        ("sqlite://", "must contain the path of SQLite's file"),
        ("sqlite:///:memory:", "must contain the path of SQLite's file"),
    ],
)
def test_a_url_that_can_not_be_used_is_refused_without_its_password(url: str, reason: str) -> None:
    with pytest.raises(SettingsWrong, match=f"^DATABASE_URL .*{reason}") as refused:
        Database(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_usual_scheme_of_postgresql_is_understood(scheme: str) -> None:
    url = Database(f"{scheme}://u:secret@host/db?sslmode=require").url
    assert (url.drivername, url.query) == ("postgresql+psycopg", {"sslmode": "require"})


def test_a_session_that_is_not_committed_changes_nothing(database: Database, add: Registrar) -> None:
    with database.session() as session:
        Registrar(session, add.store)()
    assert names_in(database) == []


def test_a_database_is_usable_after_it_was_closed(database: Database, add: Registrar) -> None:
    add("m")
    add.session.commit()
    database.close()
    assert names_in(database) == ["m"]


def test_a_new_folder_is_made_for_sqlite(tmp_path: Path) -> None:
    with pytest.raises(RegistryUnavailable, match="lacks tables"):
        models_of(f"sqlite:///{tmp_path}/a/b/registry.db")
    assert (tmp_path / "a" / "b" / "registry.db").exists()


def test_sqlite_keeps_a_write_ahead_log_and_foreign_keys(sqlite_database: Database) -> None:
    with sqlite_database.engine.connect() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1


def test_an_unmigrated_database_says_how_to_migrate_it(database_url: str) -> None:
    assert "queuecast migrate" in str(refusal(lambda: models_of(database_url)))


def test_an_unreachable_server_is_unavailable() -> None:
    error = refusal(lambda: models_of(f"postgresql://u:secret@127.0.0.1:{free_port()}/db"))
    assert "can't be reached" in str(error)


def test_a_file_that_is_no_database_is_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_bytes(b"not a database, whatever its name says" * 100)
    assert "damaged" in str(refusal(lambda: models_of(f"sqlite:///{tmp_path}/registry.db")))


def test_a_folder_in_the_place_of_the_file_is_unavailable(tmp_path: Path) -> None:
    refusal(lambda: models_of(f"sqlite:///{tmp_path}"))


def test_a_file_in_the_place_of_the_folder_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "folder" in str(refusal(lambda: models_of(f"sqlite:///{tmp_path}/file/registry.db")))


def test_a_file_that_can_only_be_read_is_readable(sqlite_database: Database, store: ArtifactStore) -> None:
    path = sqlite_database.url.database
    with closing(Database(f"sqlite:///file:{path}?mode=ro&uri=true")) as database:
        assert names_in(database) == []
        assert "can't be written" in str(refusal(lambda: write(database, store)))


def test_a_short_lock_is_waited_for_and_a_long_one_is_unavailable(
    sqlite_database: Database, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_engine, "_BUSY_TIMEOUT_MS", 200)
    with closing(Database(str(sqlite_database.url))) as database:
        with closing(sqlite3.connect(str(sqlite_database.url.database), check_same_thread=False)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert names_in(database) == []  # who reads doesn't wait
            assert "busy" in str(refusal(lambda: write(database, store)))
            assert names_in(database) == []  # and that nobody may write is no reason to refuse them
            monkeypatch.setattr(sqlite_engine, "_BUSY_TIMEOUT_MS", 20_000)
            database.close()
            with ThreadPoolExecutor(1) as threads:
                writing = threads.submit(write, database, store)
                eventually(lambda: database.engine.pool.checkedout() == 1 or writing.done())  # type: ignore[attr-defined]
                assert not writing.done()
                other.rollback()
                writing.result(20)
        assert names_in(database) == ["model"]


def test_all_connections_in_use_are_unavailable(sqlite_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "_POOL_TIMEOUT_S", 0.05)
    with closing(Database(str(sqlite_database.url))) as database, ExitStack() as held:
        for _ in range(15):
            held.enter_context(database.engine.connect())
        assert "in use" in str(refusal(lambda: names_in(database)))


@pytest.mark.postgres
def test_a_connection_that_the_server_ends_is_unavailable_once(postgres_database: Database) -> None:
    def be_cut_off() -> None:
        with postgres_database.session() as session:
            end_connection(postgres_database, session.scalar(text("SELECT pg_backend_pid()")))
            versions.list_models(session)

    assert "can't be reached" in str(refusal(be_cut_off))
    assert names_in(postgres_database) == []


@pytest.mark.postgres
def test_an_idle_connection_that_the_server_ended_is_replaced(postgres_database: Database) -> None:
    with postgres_database.session() as session:
        process_id = session.scalar(text("SELECT pg_backend_pid()"))
    with closing(Database(postgres_database.url.render_as_string(hide_password=False))) as other:
        end_connection(other, process_id)
    assert names_in(postgres_database) == []


@pytest.mark.postgres
def test_a_user_without_rights_is_told_so(postgres_database: Database) -> None:
    with postgres_database.engine.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
    url = postgres_database.url.set(username="stranger", password="stranger")
    with closing(Database(url.render_as_string(hide_password=False))) as database:
        assert "refuses its user" in str(refusal(lambda: names_in(database)))


@pytest.mark.postgres
def test_a_wrong_password_is_not_repeated(postgres_database: Database) -> None:
    url = postgres_database.url.set(password="secret-of-mine")
    with closing(Database(url.render_as_string(hide_password=False))) as database:
        error = refusal(lambda: names_in(database))
    assert "secret" not in str(error)
    assert str(database.url.username) not in str(error)


def seconds_to_refuse(database: Database) -> float:
    began = time.monotonic()
    with pytest.raises(RegistryUnavailable):
        names_in(database)
    return time.monotonic() - began


def check_that_silence_costs_two_seconds_once(database: Database) -> None:
    """Query a database that doesn't answer from many threads, twice."""
    with ThreadPoolExecutor(40) as threads:
        first = list(threads.map(seconds_to_refuse, [database] * 40))
        assert max(first) < MOST_S
        again = list(threads.map(seconds_to_refuse, [database] * 40))
        assert max(again) < 1, "a known outage keeps no caller waiting"
    asking = [thread for thread in threading.enumerate() if "outage" in thread.name]
    assert len(asking) == 1


def eventually_answers(database: Database) -> None:
    def answers() -> bool:
        try:
            return names_in(database) == []
        except RegistryUnavailable:
            return False

    eventually(answers, message="it answers again")


@pytest.mark.slow
@pytest.mark.postgres
def test_a_server_that_hangs_costs_callers_two_seconds_once(
    postgres_cluster: PostgresCluster, postgres_database: Database
) -> None:
    with closing(Database(postgres_database.url.render_as_string(hide_password=False))) as unused:
        assert names_in(postgres_database) == []
        postgres_cluster.freeze()
        try:
            check_that_silence_costs_two_seconds_once(postgres_database)
            assert seconds_to_refuse(unused) < MOST_S  # it has no connection yet
            assert seconds_to_refuse(unused) < 1
            here = psutil.Process().net_connections()
            assert len([each for each in here if each.raddr and each.raddr.port == postgres_cluster.port]) < 35
        finally:
            postgres_cluster.thaw()
        eventually_answers(postgres_database)
        eventually_answers(unused)


@pytest.mark.slow
@pytest.mark.postgres
def test_a_connection_that_was_dropped_without_a_word_is_replaced_in_the_same_call(
    postgres_cluster: PostgresCluster, postgres_database: Database
) -> None:
    with postgres_database.session() as session:
        process_id = session.scalar(text("SELECT pg_backend_pid()"))
    backend = psutil.Process(process_id)
    backend.suspend()
    try:
        assert names_in(postgres_database) == []
    finally:
        backend.resume()


@pytest.mark.slow
@pytest.mark.postgres
def test_a_statement_that_takes_long_fails_alone(postgres_database: Database) -> None:
    def take_long() -> None:
        with postgres_database.session() as session:
            session.execute(text("SELECT pg_sleep(60)"))

    assert "busy" in str(refusal(take_long))
    assert names_in(postgres_database) == []


@pytest.mark.slow
def test_a_file_that_nobody_may_read_costs_callers_two_seconds_once(sqlite_database: Database) -> None:
    assert names_in(sqlite_database) == []
    sqlite_database.close()
    with closing(sqlite3.connect(str(sqlite_database.url.database))) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        check_that_silence_costs_two_seconds_once(sqlite_database)
    eventually_answers(sqlite_database)


@pytest.mark.slow
def test_a_forked_child_connects_anew(database: Database, add: Registrar) -> None:
    add("m")
    add.session.commit()
    url = database.url.render_as_string(hide_password=False)
    done = subprocess.run(
        [sys.executable, "-c", FORKS, url],
        cwd=REPOSITORY, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "child 0 connections 1\n"), done.stderr


def test_one_database_is_the_process_s_own(data_dir: Path) -> None:
    assert default_database() is default_database()
    assert default_database().url.database == str(data_dir / "registry.db")
