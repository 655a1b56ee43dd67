"""Several threads, connections and processes write at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from registry import deployments, versions
from registry.artifacts.store import ArtifactStore
from registry.catalog import aliases, tags
from registry.database import Database
from registry.errors import AliasChanged, RegistryError, VersionExists, VersionInUse, VersionNotFound
from tests.support.service.environment import REPOSITORY, clean_environment
from tests.support.waiting import eventually

ADD_FIVE = """
import sys
from registry import versions
from registry.artifacts.store import ArtifactStore
from registry.database import Database

database = Database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(5):
    with database.session() as session:
        store = ArtifactStore(sys.argv[2])
        print(versions.add_version(session, store, "m", b"model", runtime="python", input_example=1.0).version)
        session.commit()
"""


class Adding:
    """Adds a version in a session of its own and commits; returns its name, or the error."""

    def __init__(self, database: Database, store: ArtifactStore) -> None:
        self.database = database
        self.store = store

    def __call__(self, name: str = "m", version: str | None = None) -> str | RegistryError:
        try:
            with self.database.session() as session:
                added = versions.add_version(
                    session, self.store, name, b"model", runtime="python", input_example=1.0, version=version
                )
                session.commit()
        except RegistryError as error:
            return error
        return added.version


@pytest.fixture
def add(database: Database, store: ArtifactStore) -> Adding:
    return Adding(database, store)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait(20)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def assert_numbered(versions_of_each: Iterable[list[str]], count: int) -> None:
    names = [name for names in versions_of_each for name in names]
    assert sorted(names, key=int) == [str(number) for number in range(1, count + 1)]


def test_threads_get_a_number_each(add: Adding) -> None:
    numbers = at_once(*[lambda: [add() for _ in range(4)]] * 6)
    assert_numbered(numbers, 24)


@pytest.mark.slow
def test_processes_get_a_number_each(database: Database, store: ArtifactStore) -> None:
    url = database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", ADD_FIVE, url, store.url]
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
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    numbers = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert_numbered(numbers, 15)


def test_one_of_several_gets_a_given_name(add: Adding) -> None:
    answers = at_once(*[lambda: add(version="beta")] * 5)
    assert answers.count("beta") == 1
    assert [type(each) for each in answers].count(VersionExists) == 4


@pytest.mark.postgres
def test_who_leaves_the_number_out_waits_for_who_gives_it(postgres_database: Database, store: ArtifactStore) -> None:
    add = Adding(postgres_database, store)
    add(version="first")
    counted: list[Future[Any]] = []

    def come_between(_connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO model_versions") and not counted:
            counted.append(threads.submit(add))
            eventually(lambda: waiting_for_a_lock(postgres_database) or counted[0].done(), message="the other waits")

    with ThreadPoolExecutor(1) as threads:
        event.listen(postgres_database.engine, "after_cursor_execute", come_between)
        assert add(version="1") == "1"
        assert counted[0].result(20) == "2"


def waiting_for_a_lock(database: Database) -> bool:
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    with database.engine.connect() as connection:
        return bool(connection.scalar(query))


def test_a_version_is_deployed_or_deleted_but_not_both(add: Adding, database: Database) -> None:
    def delete(version: str) -> RegistryError | None:
        try:
            with database.session() as session:
                versions.delete_version(session, "m", version)
                session.commit()
        except RegistryError as error:
            return error
        return None

    def deploy(version: str) -> RegistryError | None:
        try:
            with database.session() as session:
                deployments.deploy(session, "m", version=version)
                session.commit()
        except RegistryError as error:
            return error
        return None

    for _ in range(8):
        version = str(add())
        add()
        deleted, deployed = at_once(lambda: delete(version), lambda: deploy(version))  # noqa: B023 - runs at once
        assert (deleted is None) != (deployed is None)
        assert isinstance(deleted or deployed, VersionInUse if deleted else VersionNotFound)


def test_each_of_several_deploys_of_an_endpoint_counts(add: Adding, database: Database) -> None:
    add()
    add()

    def deploy(version: str) -> list[int]:
        revisions = []
        for _ in range(5):
            with database.session() as session:
                deployed = deployments.deploy(
                    session, "m", version=version, endpoint_name="e", settings={"max_batch_size": int(version)}
                )
                session.commit()
            assert (deployed.version, deployed.settings.max_batch_size) == (version, int(version))
            revisions.append(deployed.revision)
        return revisions

    revisions = at_once(lambda: deploy("1"), lambda: deploy("2"), lambda: deploy("1"))
    assert sorted(revision for each in revisions for revision in each) == list(range(1, 16))


@pytest.mark.parametrize("before", [None, "1"])
def test_of_two_that_expect_the_same_version_one_moves_the_alias(
    database: Database, add: Adding, before: str | None
) -> None:
    for _ in range(3):
        add()
    if before is not None:
        with database.session() as session:
            aliases.move(session, "m", "champion", before)
            session.commit()

    def move(version: str) -> str | RegistryError:
        try:
            with database.session() as session:
                aliases.move(session, "m", "champion", version, expected=before)
                session.commit()
        except AliasChanged as error:
            return error
        return version

    moved = at_once(lambda: move("2"), lambda: move("3"))
    [winner] = [each for each in moved if isinstance(each, str)]
    [refused] = [each for each in moved if isinstance(each, AliasChanged)]
    assert refused.version == winner
    with database.session() as session:
        assert aliases.find(session, "m", "champion").version == winner
        assert len(aliases.moves(session, "m", "champion")) == (1 if before is None else 2)


@pytest.mark.postgres
def test_a_move_waits_for_a_deploy_that_follows_the_alias(postgres_database: Database, store: ArtifactStore) -> None:
    add = Adding(postgres_database, store)
    add()
    add()
    with postgres_database.session() as session:
        aliases.move(session, "m", "champion", "1")
        session.commit()

    def move() -> list[str]:
        with postgres_database.session() as session:
            aliases.move(session, "m", "champion", "2")
            swapped = [each.endpoint_name for each in deployments.follow(session, "m", "champion")]
            session.commit()
        return swapped

    with ThreadPoolExecutor(1) as threads, postgres_database.session() as session:
        deployments.deploy(session, "m", alias="champion", follow=True, endpoint_name="e")
        moved = threads.submit(move)
        eventually(lambda: waiting_for_a_lock(postgres_database) or moved.done(), message="the move waits")
        session.commit()
        assert moved.result(20) == ["e"]


@pytest.mark.postgres
def test_a_deploy_does_not_follow_an_alias_that_is_moved_at_the_same_time(
    postgres_database: Database, store: ArtifactStore
) -> None:
    add = Adding(postgres_database, store)
    add()
    add()
    with postgres_database.session() as session:
        aliases.move(session, "m", "champion", "1")
        session.commit()

    def deploy() -> AliasChanged | None:
        try:
            with postgres_database.session() as session:
                deployments.deploy(session, "m", alias="champion", follow=True, endpoint_name="e")
                session.commit()
        except AliasChanged as error:
            return error
        return None

    with ThreadPoolExecutor(1) as threads, postgres_database.session() as session:
        aliases.move(session, "m", "champion", "2")
        deployed = threads.submit(deploy)
        eventually(lambda: waiting_for_a_lock(postgres_database) or deployed.done(), message="the deploy waits")
        session.commit()
        assert isinstance(deployed.result(20), AliasChanged)


@pytest.mark.postgres
@pytest.mark.parametrize("version", [None, "1"])
def test_changes_of_the_same_tag_come_one_after_the_other(
    postgres_database: Database, store: ArtifactStore, version: str | None
) -> None:
    Adding(postgres_database, store)()

    def change(value: str) -> dict[str, str]:
        with postgres_database.session() as session:
            found = tags.change(session, "m", {"owner": value}, version=version)
            session.commit()
        return found

    with ThreadPoolExecutor(1) as threads, postgres_database.session() as session:
        tags.change(session, "m", {"owner": "risk"}, version=version)
        changed = threads.submit(change, "sales")
        eventually(lambda: waiting_for_a_lock(postgres_database) or changed.done(), message="the other waits")
        session.commit()
        assert changed.result(20) == {"owner": "sales"}
