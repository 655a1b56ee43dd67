"""Artifacts that nothing needs are deleted, and no other; on SQLite and PostgreSQL, in folders and in memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from registry import deployments, versions
from registry.artifacts.store import ArtifactStore
from registry.database import Database
from registry.database.tables import EnvironmentRow, VersionRow
from registry.environments import environment as environments
from registry.environments.environment import Environment
from registry.errors import PruneRefused, RegistryUnavailable
from registry.upkeep import pruning
from registry.upkeep.pruning import Reason
from registry.versions import ModelVersion
from tests.registry.artifacts.test_artifacts import files, place_of
from tests.support.waiting import eventually

LONG_AGO = time.time() - 7_200


def add(database: Database, store: ArtifactStore, artifact: Any = b"model", name: str = "house") -> ModelVersion:
    with database.session() as session:
        added = versions.add_version(session, store, name, artifact, runtime="python", input_example=[1.0])
        session.commit()
    return added


def delete(database: Database, version: ModelVersion, ago: timedelta = timedelta(hours=2)) -> None:
    with database.session() as session:
        versions.delete_version(session, version.model_name, version.version)
        session.execute(
            update(VersionRow)
            .where(VersionRow.model_name == version.model_name, VersionRow.version == version.version)
            .values(deleted_at=datetime.now(UTC) - ago)
        )
        session.commit()


def age(store: ArtifactStore) -> None:
    """Let everything in the store be two hours old."""
    for path in files(Path(store.url)):
        os.utime(path, (LONG_AGO, LONG_AGO))


def test_the_artifact_of_a_deleted_version_goes_and_all_others_stay(database: Database, store: ArtifactStore) -> None:
    gone, kept = add(database, store, b"first"), add(database, store, b"second")
    delete(database, gone)
    age(store)
    planned = pruning.prune(database, store, dry_run=True)
    assert [(each.sha256, each.size_bytes, each.reason, each.versions) for each in planned.deleted] == [
        (gone.artifact_sha256, 5, Reason.DELETED_VERSION, ["house 1"])
    ]
    assert store.exists(gone.artifact_sha256)
    assert pruning.prune(database, store) == planned
    assert files(Path(store.url)) == [place_of(store, kept.artifact_sha256)]
    assert (planned.needed_count, planned.needed_bytes, planned.too_young) == (1, 6, [])
    assert pruning.prune(database, store).deleted == []


def test_an_artifact_of_two_versions_stays_until_both_are_deleted(database: Database, store: ArtifactStore) -> None:
    first, second = add(database, store), add(database, store, name="another")
    delete(database, first)
    age(store)
    assert pruning.prune(database, store).deleted == []
    delete(database, second)
    assert [each.versions for each in pruning.prune(database, store).deleted] == [["house 1", "another 1"]]


def test_what_was_deleted_or_stored_just_now_stays_for_a_backup_or_a_load(
    database: Database, store: ArtifactStore
) -> None:
    deleted_now = add(database, store, b"first")
    delete(database, deleted_now, timedelta(minutes=1))
    age(store)
    stored_now = store.put(b"not yet registered").sha256
    found = pruning.prune(database, store)
    assert found.deleted == []
    assert {each.sha256: each.reason for each in found.too_young} == {
        deleted_now.artifact_sha256: Reason.DELETED_VERSION,
        stored_now: Reason.NO_VERSION,
    }
    assert len(pruning.prune(database, store, grace_s=30).deleted) == 1
    assert len(pruning.prune(database, store, grace_s=0).deleted) == 1
    assert files(Path(store.url)) == []


def test_what_no_version_ever_had_and_broken_uploads_go(database: Database, store: ArtifactStore) -> None:
    kept = add(database, store)
    store.put(b"the registration broke off")
    incoming = Path(store.url) / "incoming"
    (incoming / ("a" * 32)).write_bytes(b"half")
    age(store)
    (incoming / ("b" * 32)).write_bytes(b"goes on")
    (incoming / "README").write_bytes(b"somebody else's")
    (Path(store.url) / "sha256" / "notes.txt").write_bytes(b"somebody else's")
    found = pruning.prune(database, store, grace_s=0)
    assert sorted(each.reason for each in found.deleted) == [Reason.NO_VERSION, Reason.UNFINISHED_UPLOAD]
    assert {path.name for path in files(Path(store.url))} == {kept.artifact_sha256, "b" * 32, "README", "notes.txt"}


def test_what_a_deployment_or_a_worker_has_stays(database: Database, store: ArtifactStore) -> None:
    served, winding_down = add(database, store, b"first"), add(database, store, b"second")
    with database.session() as session:
        deployments.deploy(session, "house", version=served.version, endpoint_name="house")
        deployments.deploy(session, "house", version=winding_down.version, endpoint_name="old")
        deployments.undeploy(session, "old")
        session.commit()
    delete(database, winding_down)
    age(store)
    assert pruning.prune(database, store, in_use={("house", "2")}, grace_s=0).deleted == []
    assert [each.versions for each in pruning.prune(database, store, grace_s=0).deleted] == [["house 2"]]
    assert store.get(served.artifact_sha256) == b"first"


def in_environment(database: Database, store: ArtifactStore, lock: str, name: str = "house") -> ModelVersion:
    environment = Environment.of("3.12", lock)
    with database.session() as session:
        added = versions.add_version(
            session, store, name, b"model", runtime="python", input_example=[1.0], environment=environment
        )
        session.execute(update(EnvironmentRow).values(created_at=datetime.fromtimestamp(LONG_AGO, UTC)))
        session.commit()
    return added


def stored_environments(database: Database) -> set[str]:
    with database.session() as session:
        return set(session.scalars(select(EnvironmentRow.sha256)))


def test_an_environment_goes_with_the_last_version_that_has_it(database: Database, store: ArtifactStore) -> None:
    first, same, other = (in_environment(database, store, lock, lock) for lock in ("a", "a", "b"))
    shared, kept = first.environment_sha256, other.environment_sha256
    assert shared == same.environment_sha256
    delete(database, first)
    assert pruning.prune(database, store).deleted_environments == []
    delete(database, same, timedelta(minutes=1))
    assert pruning.prune(database, store).deleted_environments == [], "deleted just now"
    assert pruning.prune(database, store, in_use={("a", "2")}, grace_s=0).deleted_environments == []
    assert pruning.prune(database, store, dry_run=True, grace_s=30).deleted_environments == [shared]
    assert stored_environments(database) == {shared, kept}
    assert pruning.prune(database, store, grace_s=30).deleted_environments == [shared]
    assert stored_environments(database) == {kept}
    assert in_environment(database, store, "a").environment_sha256 == shared
    assert stored_environments(database) == {shared, kept}


def test_an_environment_that_a_registration_shares_at_the_same_moment_stays(
    database: Database, store: ArtifactStore
) -> None:
    """The new version is not committed yet when the deletion looks: the deletion waits for it."""
    delete(database, in_environment(database, store, "a"))
    shared = Environment.of("3.12", "a")
    with ThreadPoolExecutor(1) as pool, database.session() as session:
        environments.add(session, shared)
        pruned = pool.submit(pruning.prune, database, store)
        eventually(pruned.running, 5)
        with pytest.raises(TimeoutError):
            pruned.result(0.3)
        versions.add_version(
            session, store, "house", b"model", runtime="python", input_example=[1.0], environment=shared
        )
        session.commit()
        assert pruned.result(10).deleted_environments == []
    assert stored_environments(database) == {shared.sha256}


def test_a_registry_without_versions_deletes_nothing(database: Database, store: ArtifactStore) -> None:
    store.put(b"another registry's")
    age(store)
    with pytest.raises(PruneRefused, match="another registry"):
        pruning.prune(database, store)


def test_a_store_without_anything_is_pruned_too(database: Database, store: ArtifactStore, tmp_path: Path) -> None:
    add(database, store)
    assert pruning.prune(database, ArtifactStore(str(tmp_path / "empty"))).deleted == []
    memory = ArtifactStore(f"memory:/{tmp_path}/pruned")
    stored = memory.put(b"orphan").sha256
    assert [each.sha256 for each in pruning.prune(database, memory).too_young] == [stored]
    assert [each.sha256 for each in pruning.prune(database, memory, grace_s=0).deleted] == [stored]


def test_time_that_runs_out_is_said(database: Database, store: ArtifactStore) -> None:
    add(database, store)
    found = pruning.prune(database, store, limit_s=0)
    assert (found.is_complete, found.needed_count) == (False, 0)


class HookedStore(ArtifactStore):
    """Calls something after it has stored an artifact, or before it deletes one."""

    after_put: Callable[[], object] = staticmethod(lambda: None)
    before_delete: Callable[[], object] = staticmethod(lambda: None)

    def put(self, artifact: Any) -> Any:
        stored = super().put(artifact)
        self.after_put()
        return stored

    def delete(self, sha256: str) -> None:
        self.before_delete()
        super().delete(sha256)


@pytest.mark.parametrize("kind", [bytes, BytesIO])
def test_an_artifact_that_is_deleted_before_its_version_is_written_is_stored_again(
    database: Database, store: ArtifactStore, kind: type[Any]
) -> None:
    """The worst moment: the registration has stored the bytes, and no row names them yet."""
    other = add(database, store, b"other")
    hooked = HookedStore(store.url)

    def prune_once() -> None:
        hooked.after_put = lambda: None
        assert len(pruning.prune(database, store, grace_s=0).deleted) == 1

    hooked.after_put = prune_once
    added = add(database, hooked, kind(b"first"))
    assert store.get(added.artifact_sha256) == b"first"
    assert store.exists(other.artifact_sha256)


def test_an_artifact_that_is_registered_while_it_is_about_to_be_deleted_is_there_afterwards(
    database: Database, store: ArtifactStore
) -> None:
    """The registration stores the bytes, and waits for the deletion, which has looked before; then it stores again."""
    delete(database, add(database, store, b"first"))
    age(store)
    hooked = HookedStore(store.url)
    registered: list[ModelVersion] = []
    has_put = Event()
    registering = HookedStore(store.url)
    registering.after_put = has_put.set
    thread = Thread(target=lambda: registered.append(add(database, registering, b"first")))

    def register_meanwhile() -> None:
        thread.start()
        assert has_put.wait(10)

    hooked.before_delete = register_meanwhile
    assert len(pruning.prune(database, hooked).deleted) == 1
    thread.join(10)
    assert registered[0].version == "2"
    assert store.get(registered[0].artifact_sha256) == b"first"


def test_a_version_that_is_added_first_keeps_its_artifact(database: Database, store: ArtifactStore) -> None:
    """The registration's row is not committed yet when the deletion wants its artifact: the deletion waits for it."""
    delete(database, add(database, store, b"first"))
    age(store)
    with ThreadPoolExecutor(1) as pool, database.session() as session:
        adding(session, store)
        age(store)  # not even the time of its bytes protects it
        pruned = pool.submit(pruning.prune, database, store)
        eventually(pruned.running, 5)
        with pytest.raises(TimeoutError):
            pruned.result(0.3)
        session.commit()
        assert pruned.result(10).deleted == []
    assert store.exists(place_of(store, versions_of(database)).name)


def adding(session: Session, store: ArtifactStore) -> None:
    versions.add_version(session, store, "house", b"first", runtime="python", input_example=[1.0])


def versions_of(database: Database) -> str:
    with database.session() as session:
        return versions.get_version(session, "house", "2").artifact_sha256


def deleted_now(database: Database, version: ModelVersion) -> bool:
    delete(database, version)
    return True


def suppressed(call: Callable[[], Any]) -> Any:
    with suppress(RegistryUnavailable):
        return call()
    return None


def test_registrations_and_prunes_at_once_lose_nothing(database: Database, store: ArtifactStore) -> None:
    """Without any grace: versions of three contents are added and deleted again and again beside two prunes."""
    add(database, store, b"keep")
    done = Event()

    def patiently(call: Callable[[], Any]) -> Any:
        # SQLite has one writer at a time, and is not fair.
        return eventually(lambda: suppressed(call), 30)

    def prune_on() -> int:
        deleted = 0
        while not done.is_set():
            deleted += len(patiently(lambda: pruning.prune(database, store, grace_s=0)).deleted)
        return deleted

    def register_on(number: int) -> None:
        content = f"content {number % 2}".encode()
        for _ in range(15):
            added = patiently(lambda: add(database, store, content, name=f"model{number}"))
            assert store.get(added.artifact_sha256) == content
            patiently(partial(deleted_now, database, added))

    with ThreadPoolExecutor(4) as pool:
        pruning_on = [pool.submit(prune_on)]
        registering = [pool.submit(register_on, number) for number in range(3)]
        try:
            for each in registering:
                each.result(60)
        finally:
            done.set()
        assert sum(each.result(10) for each in pruning_on) > 0
    with database.session() as session:
        kept = versions.get_version(session, "house", "1")
    assert store.get(kept.artifact_sha256) == b"keep"
