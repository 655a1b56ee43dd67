"""Endpoints that follow an alias by rollouts: what a move begins and ends, and what promotion and abort leave."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from registry import deployments
from registry.catalog import aliases
from registry.deployments import DesiredDeployment
from registry.errors import DeploymentChanged
from registry.judging import following, rollouts, shadows
from registry.judging.following import Followed, Following
from registry.serving.rollout_plan import Plan
from tests.registry.conftest import Registrar


@pytest.fixture(autouse=True)
def _following(session: Session, add: Registrar) -> None:
    for _ in range(4):
        add("m")
    aliases.move(session, "m", "champion", "1")
    settings = {"rollout": {"steps": [5, 50], "min_jobs": 7, "rules": {"disagreement": None}}}
    deployments.deploy(session, "m", alias="champion", follow=True, endpoint_name="e", settings=settings)


def move(session: Session, version: str) -> Followed:
    moved = aliases.move(session, "m", "champion", version, actor="ada")
    return following.follow(session, "m", "champion", is_moved=moved, actor="ada")


def now(session: Session) -> DesiredDeployment:
    found = deployments.find(session, "e")
    assert found is not None
    return found


def standing(session: Session) -> Following:
    return following.standings(session, [now(session)])["e"]


def test_a_move_begins_the_rollout_of_the_settings_and_swaps_nothing(session: Session) -> None:
    assert following.due(session, "m", "champion", "2").keys() == {"e"}
    assert move(session, "2") == Followed(swapped=[], rolling_out=["e"], returned=[])
    rollout = rollouts.latest(session, "e")
    assert (rollout.version, rollout.stable_version, rollout.state, rollout.actor) == ("2", "1", "loading", "ada")
    assert (rollout.steps, rollout.min_jobs, rollout.rules.disagreement, rollout.rules.errors) == (
        [5, 50],
        7,
        None,
        0.01,
    )
    assert (now(session).version, now(session).followed_alias) == ("1", "champion")
    assert standing(session).text == "follows champion → version 2, loading; serves 1"


def test_a_promoted_version_is_that_of_the_alias_and_the_endpoint_goes_on_following(session: Session) -> None:
    move(session, "2")
    rollouts.begin(session, rollouts.latest(session, "e"), {})
    rollouts.promote(session, rollouts.latest(session, "e"), "All steps are done.")
    assert (now(session).version, now(session).followed_alias) == ("2", "champion")
    assert standing(session).text == "follows champion → version 2"
    assert move(session, "3").rolling_out == ["e"]


def test_a_promotion_of_another_version_than_the_aliass_ends_following(session: Session) -> None:
    rollouts.begin(session, rollouts.create(session, "e", "3", Plan()), {})
    rollouts.promote(session, rollouts.latest(session, "e"), None)
    assert (now(session).version, now(session).followed_alias) == ("3", None)


def test_an_abort_leaves_the_alias_and_says_so(session: Session) -> None:
    move(session, "2")
    rollouts.abort(session, rollouts.latest(session, "e"), "It differs.")
    assert aliases.find(session, "m", "champion").version == "2"
    assert (now(session).version, now(session).followed_alias) == ("1", "champion")
    assert standing(session) == Following("champion", "2", "1", "aborted", "It differs.")
    assert standing(session).text == "follows champion → version 2, aborted; serves 1"


def test_a_repeated_move_does_not_try_an_aborted_version_again(session: Session) -> None:
    move(session, "2")
    rollouts.abort(session, rollouts.latest(session, "e"), None)
    assert move(session, "2") == Followed([], [], [])
    assert deployments.deploy(session, "m", endpoint_name="e", settings={"hosts": 2}).version == "1"
    assert len(rollouts.of_endpoint(session, "e")) == 1


def test_a_deploy_after_an_abort_keeps_the_served_version_without_the_setting_too(session: Session) -> None:
    move(session, "2")
    rollouts.abort(session, rollouts.latest(session, "e"), None)
    deployments.configure(session, "e", settings={"rollout": None})
    again = deployments.deploy(session, "m", endpoint_name="e", settings={"hosts": 2})
    assert (again.version, again.followed_alias) == ("1", "champion")
    assert move(session, "3").swapped == ["e"]


def test_a_move_while_a_rollout_goes_on_ends_it_and_begins_the_next(session: Session) -> None:
    move(session, "2")
    rollouts.begin(session, rollouts.latest(session, "e"), {})
    assert move(session, "3").rolling_out == ["e"]
    newest, before = rollouts.of_endpoint(session, "e")
    assert (newest.version, newest.state) == ("3", "loading")
    assert (before.state, before.reason) == ("aborted", "The alias champion was moved to version 3.")
    candidate = now(session).candidate
    assert candidate is not None
    assert candidate.version == "3"


def test_a_move_back_to_what_is_served_ends_the_rollout(session: Session) -> None:
    move(session, "2")
    assert move(session, "1") == Followed([], [], ["e"])
    assert rollouts.latest(session, "e").state == "aborted"
    assert now(session).candidate is None


def test_a_rollout_of_the_same_version_goes_on(session: Session) -> None:
    mine = rollouts.create(session, "e", "2", Plan())
    assert following.due(session, "m", "champion", "2") == {}
    assert move(session, "2") == Followed([], [], [])
    assert rollouts.latest(session, "e").id == mine.id


def test_a_shadow_ends_for_the_rollout(session: Session) -> None:
    shadows.create(session, "e", "2", 1.0)
    assert move(session, "2").rolling_out == ["e"]
    assert shadows.latest(session, "e").state == "stopped"


def test_a_shadow_goes_on_if_the_alias_comes_back_to_what_is_served(session: Session) -> None:
    move(session, "2")
    rollouts.abort(session, rollouts.latest(session, "e"), None)
    shadows.create(session, "e", "3", 1.0)
    assert move(session, "1") == Followed([], [], [])
    assert shadows.latest(session, "e").state == "running"


def test_a_deploy_after_an_undeploy_serves_no_version_that_was_not_rolled_out(session: Session) -> None:
    move(session, "2")
    deployments.undeploy(session, "e")
    assert rollouts.latest(session, "e").state == "aborted"
    again = deployments.deploy(session, "m", endpoint_name="e")
    assert (again.version, again.followed_alias) == ("1", "champion")
    assert standing(session).text == "follows champion → version 2, aborted; serves 1"


def test_a_parked_endpoint_is_bound_at_once(session: Session) -> None:
    deployments.undeploy(session, "e", "park")
    assert move(session, "2").swapped == ["e"]
    assert now(session).version == "2"


def test_a_rollout_that_begins_with_an_evaluation_is_refused_without_one(session: Session) -> None:
    deployments.configure(session, "e", settings={"rollout": {"start": "evaluation"}})
    with pytest.raises(DeploymentChanged):
        move(session, "2")
