"""The history of deployments: what each change was, what came of it, and the way back."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from registry import deployments, history, versions
from registry.database.tables import DeploymentChangeRow, DeploymentRow
from registry.deployments import Intent
from registry.errors import DeploymentChanged, DeploymentNotFound, RevisionNotFound, RollbackRefused
from registry.history import Outcome
from tests.registry.conftest import Registrar


@pytest.fixture(autouse=True)
def _three_versions(add: Registrar) -> None:
    for _ in range(3):
        add("m")


def swapped(session: Session) -> None:
    """An endpoint that served version 1 with two hosts, and serves version 2."""
    deployments.deploy(session, "m", version="1", endpoint_name="e", settings={"hosts": 2}, actor="ada")
    deployments.deploy(session, "m", version="2", endpoint_name="e", actor="bob")


def without_a_history(session: Session, **changes: Any) -> None:
    """Change a deployment as a release without a history does."""
    changes["revision"] = DeploymentRow.revision + 1
    session.execute(update(DeploymentRow).where(DeploymentRow.endpoint_name == "e").values(**changes))
    session.expire_all()


def test_every_change_is_a_row_that_says_who_what_from_and_to(session: Session) -> None:
    swapped(session)
    deployments.configure(session, "e", settings={"hosts": 3})
    deployments.undeploy(session, "e", "park", actor="ada")
    deployments.deploy(session, "m", endpoint_name="e")
    found = history.changes(session, "e")
    assert [(each.revision, each.action, each.actor) for each in found] == [
        (5, "deploy", None),
        (4, "undeploy", "ada"),
        (3, "configure", None),
        (2, "swap", "bob"),
        (1, "deploy", "ada"),
    ]
    assert [each.differences for each in found] == [
        {"intent": {"from": "park", "to": "serve"}},
        {"intent": {"from": "serve", "to": "park"}},
        {"hosts": {"from": 2, "to": 3}},
        {"version": {"from": "1", "to": "2"}},
        {
            "model_name": {"from": None, "to": "m"},
            "version": {"from": None, "to": "1"},
            "worker_group": {"from": None, "to": "default"},
            "intent": {"from": None, "to": "serve"},
            "hosts": {"from": 1, "to": 2},
        },
    ]
    assert found[-1].document()["from"] is None
    assert found[0].document()["to"]["settings"]["hosts"] == 3


def test_a_refused_change_is_no_row(session: Session) -> None:
    swapped(session)
    session.commit()
    with pytest.raises(DeploymentChanged):
        deployments.undeploy(session, "e", revision=1)
    session.rollback()
    assert len(history.changes(session, "e")) == 2
    with pytest.raises(DeploymentNotFound):
        history.changes(session, "never")


def test_an_outcome_is_stored_once_and_a_failure_may_be_overcome(session: Session) -> None:
    swapped(session)
    assert [each.outcome for each in history.changes(session, "e")] == [None, Outcome.SUPERSEDED]
    assert not history.settle(session, "e", 1, Outcome.ACTIVE, None)
    assert history.settle(session, "e", 2, Outcome.FAILED, "the weights are missing")
    assert not history.settle(session, "e", 2, Outcome.FAILED, "again")
    found = history.change_of(session, "e", 2)
    assert found is not None
    assert (found.outcome, found.reason) == ("failed", "the weights are missing")
    assert history.settle(session, "e", 2, Outcome.ACTIVE, None)
    assert not history.settle(session, "e", 2, Outcome.FAILED, "later")
    assert history.changes(session, "e")[0].outcome == "active"
    assert not history.settle(session, "e", 9, Outcome.ACTIVE, None)


def test_a_hundred_revisions_are_kept(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    assert history.KEPT_REVISIONS == 100
    monkeypatch.setattr(history, "KEPT_REVISIONS", 3)
    deployments.deploy(session, "m", version="1", endpoint_name="other")
    for hosts in range(1, 6):
        deployments.deploy(session, "m", version="1", endpoint_name="e", settings={"hosts": hosts})
    assert [each.revision for each in history.changes(session, "e")] == [5, 4, 3]
    assert len(history.changes(session, "other")) == 1
    assert session.scalar(select(func.count()).select_from(DeploymentChangeRow)) == 4


def test_a_change_by_a_release_without_a_history_is_shown_as_such(session: Session) -> None:
    swapped(session)
    without_a_history(session, version="3")
    newest, *rest = history.changes(session, "e")
    assert (newest.revision, newest.action, newest.actor) == (3, "unrecorded", None)
    assert newest.differences == {"version": {"from": "2", "to": "3"}}
    assert [each.revision for each in rest] == [2, 1]
    deployments.configure(session, "e", settings={"hosts": 5})
    assert [each.revision for each in history.changes(session, "e")] == [4, 2, 1]
    # The change after it knows what it was.
    assert deployments.rollback(session, "e", to_revision=3).version == "3"


def test_rows_of_a_later_history_make_room(session: Session) -> None:
    swapped(session)
    without_a_history(session, revision=1)
    session.execute(update(DeploymentRow).values(revision=1))
    session.expire_all()
    assert [each.revision for each in history.changes(session, "e")] == [1]
    deployments.configure(session, "e", settings={"hosts": 5})
    assert [(each.revision, each.action) for each in history.changes(session, "e")] == [(2, "configure"), (1, "deploy")]


def test_a_rollback_goes_to_what_served_before_and_the_next_one_comes_back(session: Session) -> None:
    swapped(session)
    deployments.configure(session, "e", worker_group="gpu")
    deployments.deploy(session, "m", endpoint_name="e")
    back = deployments.rollback(session, "e", actor="ada")
    assert (back.version, back.worker_group, back.settings.hosts, back.revision) == ("2", "default", 2, 5)
    newest = history.changes(session, "e")[0]
    assert (newest.action, newest.actor, newest.rolled_back_to) == ("rollback", "ada", 2)
    assert deployments.rollback(session, "e").worker_group == "gpu"


def test_a_rollback_passes_over_what_has_failed(session: Session) -> None:
    swapped(session)
    history.settle(session, "e", 2, Outcome.FAILED, "the weights are missing")
    deployments.deploy(session, "m", version="3", endpoint_name="e")
    assert deployments.rollback(session, "e").version == "1"


def test_a_rollback_of_an_undeployed_endpoint_serves_again_what_it_was(session: Session) -> None:
    swapped(session)
    deployments.undeploy(session, "e")
    back = deployments.rollback(session, "e")
    assert (back.version, back.intent, back.settings.hosts) == ("2", Intent.SERVE, 2)


def test_a_rollback_can_name_a_revision(session: Session) -> None:
    swapped(session)
    deployments.deploy(session, "m", version="3", endpoint_name="e", settings={"hosts": 7})
    back = deployments.rollback(session, "e", to_revision=1, revision=3)
    assert (back.version, back.settings.hosts) == ("1", 2)
    with pytest.raises(DeploymentChanged):
        deployments.rollback(session, "e", to_revision=1, revision=3)
    with pytest.raises(RevisionNotFound, match="no revision 9; it has those from 1 to 4"):
        deployments.rollback(session, "e", to_revision=9)


def test_what_can_not_be_served_again_is_refused_in_one_sentence(session: Session) -> None:
    deployments.deploy(session, "m", version="1", endpoint_name="e")
    with pytest.raises(RollbackRefused, match="No earlier revision"):
        deployments.rollback(session, "e")
    deployments.deploy(session, "m", version="2", endpoint_name="e")
    versions.delete_version(session, "m", "1")
    with pytest.raises(RollbackRefused, match="At revision 1 it served version 1 of m, which was deleted"):
        deployments.rollback(session, "e")
    deployments.undeploy(session, "e")
    with pytest.raises(RollbackRefused, match="At revision 3 it was undeployed"):
        deployments.rollback(session, "e", to_revision=3)
    with pytest.raises(DeploymentNotFound):
        deployments.rollback(session, "never")
    found = deployments.find(session, "e")
    assert found is not None
    assert found.revision == 3
