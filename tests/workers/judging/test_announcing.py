"""Events of candidates as webhooks: each once for each subscription, and none lost if a process ends in between."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from sqlalchemy import update

from registry.database import Database
from registry.database.tables import EvaluationRow, RolloutRow
from registry.judging import announcements, evaluations, rollouts, shadows, subscriptions
from registry.judging.subscriptions import EventKind
from tests.support.servers.webhook_receiver import WebhookReceiver, environment
from tests.support.service.environment import forget_cached_settings
from tests.workers.judging.conftest import begin
from workers.judging.announcing import Announcer
from workers.webhooks import delivery
from workers.webhooks import store as deliveries
from workers.webhooks.store import DeliveryStatus

ALL = tuple(EventKind)


@pytest.fixture
def receiver(store: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebhookReceiver]:
    for name, value in environment(retries_s="0.01").items():
        monkeypatch.setenv(name, value)
    forget_cached_settings()
    with WebhookReceiver() as running:
        yield running
    monkeypatch.undo()
    forget_cached_settings()


def subscribe(database: Database, url: str, *events: EventKind, endpoint_names: list[str] | None = None) -> None:
    with database.session() as session:
        subscriptions.create(session, url, events or ALL, endpoint_names=endpoint_names)
        session.commit()


def steered(database: Database) -> None:
    """A rollout from its start to its end."""
    rollout = begin(database)
    with database.session() as session:
        rollouts.begin(session, rollout, {})
        rollouts.pause(session, rollouts.find(session, rollout.id), "Too few jobs.", details={"step": 1})
        rollouts.resume(session, rollouts.find(session, rollout.id), actor="ada")
        rollouts.abort(session, rollouts.find(session, rollout.id), "It differs.", actor="ada", is_strict=False)
        session.commit()


def sent() -> None:
    for name in deliveries.lease_due():
        delivery.deliver(name)


def test_each_transition_of_a_rollout_is_a_signed_webhook(database: Database, receiver: WebhookReceiver) -> None:
    subscribe(database, receiver.url)
    steered(database)
    announcer = Announcer(database)
    assert announcer.look() == 5
    assert announcer.look() == 0
    while len(receiver.got) < 5:
        sent()
    got: dict[str, Any] = {each["type"]: each for each in receiver.got}
    assert got.keys() == {f"rollout.{each}" for each in ("begun", "step", "paused", "resumed", "aborted")}
    data = got["rollout.aborted"]["data"]
    assert (data["endpoint_name"], data["version"], data["stable_version"]) == ("e", "2", "1")
    assert (data["reason"], data["by"], data["url"]) == ("It differs.", "ada", "/deployments/e/rollout")
    assert got["rollout.step"]["data"]["weight"] == 0.1
    assert got["rollout.paused"]["data"]["step"] == 1
    [newest, *_] = deliveries.newest(status=DeliveryStatus.DELIVERED)
    shown = newest.document(with_answers=True)
    assert (shown["job_id"], shown["endpoint_name"], shown["status"]) == (None, "e", "delivered")
    assert shown["event"].startswith("rollout.")


def test_an_event_whose_announcement_is_cut_off_is_announced_again_and_stored_once(
    database: Database, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(database, receiver.url)
    begin(database)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(announcements, "mark", killed)
        with pytest.raises(KeyboardInterrupt):
            Announcer(database).look()
    assert len(deliveries.newest()) == 1
    assert Announcer(database).look() == 0, "it is stored already"
    assert len(deliveries.newest()) == 1
    with database.session() as session:
        assert announcements.due(session) == []


def test_the_receiver_is_tried_again_under_the_same_id(database: Database, receiver: WebhookReceiver) -> None:
    receiver.answer = lambda number: (500 if number == 0 else 204, {})
    subscribe(database, receiver.url)
    begin(database)
    Announcer(database).look()
    while not receiver.got:
        sent()
    assert len(set(receiver.ids)) == 1
    assert len(receiver.ids) == 2


def test_a_subscription_gets_its_kinds_of_its_endpoints_since_it_was_made(
    database: Database, store: redis.Redis
) -> None:
    begin(database)
    url = "https://hooks.example.com/hook"
    subscribe(database, url, EventKind.ROLLOUT_ABORTED)
    subscribe(database, url, EventKind.ROLLOUT_BEGUN, EventKind.ROLLOUT_ABORTED, endpoint_names=["other"])
    with database.session() as session:
        rollouts.abort(session, rollouts.latest(session, "e"), "no")
        session.commit()
    assert Announcer(database).look() == 1
    [found] = deliveries.newest()
    assert (found.event, found.endpoint_name, found.asked_by_job) == ("rollout.aborted", "e", False)
    assert deliveries.newest(owner="shop") == []


def test_ends_of_shadows_and_evaluations_are_events(database: Database, store: redis.Redis) -> None:
    subscribe(database, "https://hooks.example.com/hook")
    with database.session() as session:
        shadows.stop(session, shadows.create(session, "e", "2", 1.0), "Enough.")
        options = {"max_jobs": 1, "control": 0.0, "comparison": {}}
        made = evaluations.create(session, "e", "2", source={"since": 1.0}, options=options)
        session.commit()
        assert [each.kind for each in announcements.due(session)] == ["shadow.ended"]
        evaluations.cancel(session, made.evaluation_id)
        session.commit()
        [ended, shadow] = announcements.due(session)
    assert (ended.kind, ended.data["state"], ended.data["verdict"]) == ("evaluation.finished", "cancelled", None)
    assert (shadow.data["reason"], shadow.data["state"]) == ("Enough.", "stopped")
    assert Announcer(database).look() == 2


def test_events_that_are_none_to_others_are_marked(database: Database, store: redis.Redis) -> None:
    subscribe(database, "https://hooks.example.com/hook")
    rollout = begin(database)
    with database.session() as session:
        session.execute(update(RolloutRow).values(state="evaluating"))
        session.commit()
        rollouts.load(session, rollouts.find(session, rollout.id))
        session.commit()
    assert Announcer(database).look() == 1
    with database.session() as session:
        assert announcements.due(session) == []


def test_an_evaluation_that_was_announced_is_not_announced_again(database: Database, store: redis.Redis) -> None:
    with database.session() as session:
        made = evaluations.create(session, "e", "2", source={"since": 1.0}, options={"max_jobs": 1, "comparison": {}})
        evaluations.cancel(session, made.evaluation_id)
        session.execute(update(EvaluationRow).values(announced_at=datetime.now(UTC)))
        session.commit()
    assert Announcer(database).look() == 0
