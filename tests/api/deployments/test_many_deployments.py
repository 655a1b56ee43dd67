"""What a look at all deployments asks of the registry and of Redis doesn't grow with their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from sqlalchemy import event

from registry import deployments
from registry.database import default_database
from registry.serving.settings import ServingSettings
from tests.api.conftest import Client, View
from tests.api.stand_in_worker import StandInWorker

FEW, MANY = 3, 200
PAGES = ("/deployments", "/metrics", "/console/", "/console/models/adder")


def deploy(count: int) -> None:
    """Deploy so many more endpoints, without a word to the workers."""
    with default_database().session() as session:
        before = len(deployments.desired(session))
        for number in range(before, before + count):
            deployments.deploy(session, "adder", endpoint_name=f"adding-{number:04}", settings={"events": "off"})
        session.commit()


class Asked(Counter[str]):
    """How many statements, sends to Redis and replies of it there were."""

    @contextmanager
    def counting(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
        """Count in this block."""
        engine, connection = default_database().engine, redis.connection.AbstractConnection
        listener = lambda *_: self.update(["statements"])  # noqa: E731 - is removed again
        event.listen(engine, "before_cursor_execute", listener)
        with monkeypatch.context() as patch:
            for what, name in (("sends", "send_packed_command"), ("replies", "read_response")):
                patch.setattr(connection, name, self._counted(what, getattr(connection, name)))
            yield self
        event.remove(engine, "before_cursor_execute", listener)

    def _counted(self, what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **options: Any) -> Any:
            self[what] += 1
            return call(*args, **options)

        return counted


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_as_often_for_many_deployments_as_for_few(
    client: Client, adding: View, worker: StandInWorker, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    worker.report(adding)
    asked = []
    for count in (FEW, MANY):
        deploy(count)
        assert client.get(path).status_code == 200  # scripts are loaded now, and connections open
        with Asked().counting(monkeypatch) as found:
            answer = client.get(path)
        assert f"adding-{FEW:04}" in answer.text
        asked.append(found)
    few, many = asked
    assert (many["statements"], many["sends"]) == (few["statements"], few["sends"])
    assert many["statements"] > 0
    # A script reads some hundred keys at once.
    assert many["replies"] <= few["replies"] + 8


def test_only_what_has_changed_is_read_from_the_registry_again(
    client: Client, adding: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(FEW)
    client.get("/deployments")
    read: list[Any] = []
    stored = ServingSettings.stored

    def note(values: Mapping[str, Any]) -> ServingSettings:
        read.append(values)
        return stored(values)

    monkeypatch.setattr(ServingSettings, "stored", note)
    client.get("/deployments")
    assert read == []
    with default_database().session() as session:
        deployments.configure(session, "adding-0001", settings={"max_attempts": 3})
        session.commit()
    read.clear()
    views = {each["endpoint_name"]: each for each in client.get("/deployments").json["deployments"]}
    assert len(read) == 1
    assert (views["adding-0001"]["settings"]["max_attempts"], views["adding-0001"]["revision"]) == (3, 2)
