"""Programs that don't read the registry refuse jobs for endpoints that don't exist, and only those."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from registry import deployments
from registry.database import Database
from tests.support.waiting import eventually
from workers import keys, tasks
from workers.endpoints import keeper, names
from workers.endpoints.keeper import NamesKeeper
from workers.errors import EndpointUnknown
from workers.platform.redis.client import records_client

_ANSWER_S = 20.0


@pytest.fixture(autouse=True)
def _stops_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_LOOK_EVERY_S", 0.1)
    # Whoever gets no answer sends the job all the same: here nobody gives up the wait for an answer that is under way.
    monkeypatch.setattr(names, "_ANSWER_S", _ANSWER_S)


@contextmanager
def keeping(database: Database) -> Iterator[None]:
    """A background process that keeps the names."""
    stopping = threading.Event()
    thread = threading.Thread(target=NamesKeeper(database).run, args=(stopping,))
    thread.start()
    try:
        eventually(lambda: records_client().exists(keys.TAKING_JOBS) == 1)
        yield
    finally:
        stopping.set()
        thread.join()


def deploy(database: Database, endpoint_name: str) -> None:
    """Deploy as an API of an earlier release does, which tells Redis nothing."""
    with database.session() as session:
        deployments.deploy(session, "m", version="1", endpoint_name=endpoint_name)
        session.commit()


def test_a_job_for_an_unknown_endpoint_is_refused_at_once(store: redis.Redis, database: Database) -> None:
    with keeping(database):
        started_at = time.monotonic()
        with pytest.raises(EndpointUnknown, match=r"'nothing'.*must_exist=False"):
            tasks.predict.delay("nothing", 1)
        assert time.monotonic() - started_at < _ANSWER_S / 2
        with pytest.raises(EndpointUnknown):
            tasks.predict.bulk("nothing", [1, 2])
        assert not store.exists("predict.nothing")
        tasks.predict.apply_async(("nothing", 1), must_exist=False)
        tasks.predict.bulk("nothing", [2, 3], must_exist=False)
        assert store.llen("predict.nothing") == 3


def test_an_endpoint_that_an_earlier_release_has_deployed_takes_jobs_at_once(
    store: redis.Redis, database: Database
) -> None:
    with keeping(database):
        for number in range(5):
            deploy(database, f"new-{number}")
            tasks.predict.delay(f"new-{number}", 1)
            assert store.llen(f"predict.new-{number}") == 1


def test_parked_endpoints_take_jobs_and_undeployed_ones_do_not(store: redis.Redis, database: Database) -> None:
    deploy(database, "parked")
    deploy(database, "gone")
    with database.session() as session:
        deployments.undeploy(session, "parked", "park")
        deployments.undeploy(session, "gone", "drain")
        session.commit()
    with keeping(database):
        tasks.predict.delay("parked", 1)
        with pytest.raises(EndpointUnknown):
            tasks.predict.delay("gone", 1)


def test_a_lost_key_refuses_no_job(store: redis.Redis, database: Database) -> None:
    with keeping(database):
        store.delete(keys.TAKING_JOBS, keys.TAKING_JOBS_ASKED)
        tasks.predict.delay("e", 1)
        tasks.predict.delay("nothing-read-again-yet", 1)


def test_jobs_are_sent_where_nobody_keeps_the_names(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks.predict.delay("anything", 1)
    # The process that wrote this is gone.
    names.write(["e"], 0)
    monkeypatch.setattr(names, "_ANSWER_S", 0.05)
    tasks.predict.delay("another", 1)
    assert store.llen("predict.anything") == store.llen("predict.another") == 1


def test_jobs_are_sent_by_users_without_the_right_to_read_names(store: redis.Redis) -> None:
    store.set(keys.TAKING_JOBS, "no hash")
    tasks.predict.delay("e", 1)
    names.add(["e"])
    names.remove(["e"])


def test_names_are_there_as_soon_as_they_are_noted(store: redis.Redis) -> None:
    names.write([], 0)
    names.add(["e"])
    assert store.hget(keys.TAKING_JOBS, "e") == b"1"
    names.remove(["e"])
    assert store.hget(keys.TAKING_JOBS, "e") is None
