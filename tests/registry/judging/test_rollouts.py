"""Shadows and rollouts in the registry: their transitions, and what a change of the deployment does to them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy.orm import Session

from registry import deployments, history, versions
from registry.catalog import aliases
from registry.database import Database
from registry.database.tables import EvaluationRow
from registry.errors import (
    RolloutNotFound,
    RolloutRefused,
    SettingsInvalid,
    ShadowNotFound,
    TrialActive,
    TrialRefused,
    VersionJudged,
    VersionNotFound,
)
from registry.judging import evaluations, rollouts, shadows
from registry.judging.evaluations import Hold
from registry.judging.rollouts import Rollout
from registry.serving.rollout_plan import Plan, Rules
from tests.registry.conftest import Registrar


@pytest.fixture(autouse=True)
def _three_versions(session: Session, add: Registrar) -> None:
    for _ in range(3):
        add("m")
    add("n")
    deployments.deploy(session, "m", version="1", endpoint_name="e", settings={"hosts": 2}, actor="ada")


def begun(session: Session, plan: Plan = Plan()) -> Rollout:  # noqa: B008 - frozen
    """A rollout of version 2 in its first step."""
    rollout = rollouts.create(session, "e", "2", plan, actor="ada")
    rollouts.begin(session, rollout, {"step_start": {}})
    return rollouts.find(session, rollout.id)


def test_a_rollout_places_its_candidate_with_the_weight_of_each_step(session: Session) -> None:
    rollout = rollouts.create(session, "e", "2", Plan(steps=[1, 50]), actor="ada")
    found = deployments.find(session, "e")
    assert found is not None
    assert found.candidate is not None
    assert (found.version, found.revision) == ("1", 2)
    assert (found.candidate.version, found.candidate.weight, found.candidate.trial_id) == ("2", 0.0, rollout.id)
    rollouts.begin(session, rollout, {})
    rollouts.advance(session, rollouts.find(session, rollout.id), {}, "200 jobs, and no rule is broken.")
    found = deployments.find(session, "e")
    assert found is not None
    assert found.candidate is not None
    assert (found.candidate.weight, found.candidate.shadow_share) == (0.5, rollouts.COMPARED_SHARE)
    assert found.revision == 4
    moved = rollouts.find(session, rollout.id)
    assert (moved.state, moved.step, moved.weight) == ("running", 1, 0.5)
    assert [each.event for each in rollouts.events(session, rollout.id)] == ["step", "step", "loading"]
    changes = history.changes(session, "e")
    assert [each.action for each in changes] == ["rollout step"] * 3 + ["deploy"]
    assert changes[0].differences == {"candidate_weight": {"from": 0.01, "to": 0.5}}


def test_a_promoted_candidate_is_the_version_that_serves(session: Session) -> None:
    rollout = begun(session)
    rollouts.promote(session, rollout, "All steps are done.")
    found = deployments.find(session, "e")
    assert found is not None
    assert (found.version, found.candidate, found.settings.hosts) == ("2", None, 2)
    assert rollouts.find(session, rollout.id).state == "promoted"
    last = history.changes(session, "e")[0]
    assert (last.action, last.differences["version"]) == ("promote", {"from": "1", "to": "2"})
    assert deployments.rollback(session, "e").version == "1"


def test_an_aborted_rollout_leaves_the_stable_version_alone(session: Session) -> None:
    rollout = begun(session)
    rollouts.abort(session, rollout, "A host was lost.")
    found = deployments.find(session, "e")
    assert found is not None
    assert (found.version, found.candidate) == ("1", None)
    ended = rollouts.latest(session, "e")
    assert (ended.state, ended.reason, ended.weight) == ("aborted", "A host was lost.", 0.0)
    assert ended.finished_at is not None
    assert history.changes(session, "e")[0].action == "abort"
    assert history.previous(history.changes(session, "e")) is None, "a candidate is nothing to go back to"


def test_a_paused_rollout_keeps_its_weight_and_starts_its_step_again(session: Session) -> None:
    rollout = begun(session)
    rollouts.pause(session, rollout, "Too few jobs.")
    paused = rollouts.find(session, rollout.id)
    assert (paused.state, paused.weight) == ("paused", 0.01)
    rollouts.resume(session, paused, actor="bob")
    resumed = rollouts.find(session, rollout.id)
    assert (resumed.state, resumed.step, resumed.reason) == ("running", 0, None)
    assert resumed.step_started_at is not None
    assert rollout.step_started_at is not None
    assert resumed.step_started_at > rollout.step_started_at


def evaluated(session: Session, version: str = "2") -> str:
    """The id of an evaluation that runs."""
    values = {
        "endpoint_name": "e", "model_name": "m", "version": version, "stable_version": "1", "worker_group": "default",
        "source": {}, "options": {}, "state": "replaying", "progress": {}, "revision": 1,
    }  # fmt: skip
    session.add(EvaluationRow(id="x" * 16, created_at=datetime.now(UTC), **values))
    session.flush()
    return "x" * 16


def test_an_evaluation_of_another_version_is_refused(session: Session) -> None:
    other = evaluated(session, version="3")
    for evaluation_id in (other, "unknown"):
        with pytest.raises(TrialRefused, match="is no evaluation of version 2"):
            rollouts.create(session, "e", "2", Plan(), evaluation_id=evaluation_id)


def test_a_rollout_can_begin_with_an_evaluation(session: Session) -> None:
    rollout = rollouts.create(session, "e", "2", Plan(), evaluation_id=evaluated(session))
    found = deployments.find(session, "e")
    assert found is not None
    assert (rollout.state, found.candidate, found.revision) == ("evaluating", None, 1)
    rollouts.pause(session, rollout, "The evaluation is inconclusive.")
    rollouts.resume(session, rollouts.find(session, rollout.id))
    found = deployments.find(session, "e")
    assert found is not None
    assert found.candidate is not None
    assert rollouts.find(session, rollout.id).state == "loading"


@pytest.mark.parametrize("transition", ["begin", "advance", "pause", "resume", "promote", "load", "abort"])
def test_an_ended_rollout_refuses_each_transition(session: Session, transition: str) -> None:
    rollout = begun(session)
    rollouts.abort(session, rollout, "Enough.")
    session.commit()
    ended = rollouts.find(session, rollout.id)
    arguments: dict[str, tuple[object, ...]] = {"begin": ({},), "advance": ({}, ""), "load": (), "resume": ()}
    with pytest.raises(RolloutRefused, match="is aborted"):
        getattr(rollouts, transition)(session, ended, *arguments.get(transition, ("why",)))
    session.rollback()
    found = deployments.find(session, "e")
    assert found is not None
    assert found.candidate is None


def test_of_two_processes_that_decide_at_once_one_is_refused(session: Session, database: Database) -> None:
    rollout = begun(session)
    session.commit()
    rollouts.advance(session, rollout, {}, "")
    session.commit()
    with database.session() as other, pytest.raises(RolloutRefused):
        rollouts.advance(other, rollout, {}, "")
    moved = rollouts.find(session, rollout.id)
    assert (moved.step, moved.weight) == (1, 0.1)
    found = deployments.find(session, "e")
    assert found is not None
    assert found.candidate is not None
    assert found.candidate.weight == moved.weight, "what was refused has changed nothing"


def test_an_endpoint_has_one_trial(session: Session) -> None:
    shadow = shadows.create(session, "e", "2", 0.5)
    with pytest.raises(TrialActive, match="has a shadow of version 2"):
        rollouts.create(session, "e", "3", Plan())
    shadows.stop(session, shadow)
    begun(session)
    with pytest.raises(TrialActive, match="has a rollout of version 2"):
        shadows.create(session, "e", "3")
    with pytest.raises(ShadowNotFound):
        shadows.stop(session, shadow)


def test_trials_need_a_served_endpoint_and_another_version(session: Session) -> None:
    with pytest.raises(TrialRefused, match="serves version 1 already"):
        shadows.create(session, "e", "1")
    with pytest.raises(VersionNotFound):
        rollouts.create(session, "e", "9", Plan())
    deployments.undeploy(session, "e")
    with pytest.raises(TrialRefused, match="isn't served"):
        rollouts.create(session, "e", "2", Plan())
    with pytest.raises(RolloutNotFound):
        rollouts.latest(session, "e")


@pytest.mark.parametrize(
    "plan",
    [Plan(steps=[]), Plan(steps=[10, 1]), Plan(steps=[0, 1]), Plan(steps=[101]), Plan(min_jobs=0), Plan(step_s=0),
     Plan(on_failure="caller")],
)  # fmt: skip
def test_a_plan_that_can_not_be_followed_is_refused(session: Session, plan: Plan) -> None:
    with pytest.raises(SettingsInvalid):
        rollouts.create(session, "e", "2", plan)


@pytest.mark.parametrize("rules", [{"errors": 2}, {"latency_p95": 0.5}, {"colour": 1}, {"errors": True}])
def test_unknown_rules_and_wrong_values_are_refused(rules: dict[str, object]) -> None:
    with pytest.raises(SettingsInvalid):
        Rules.parse(rules)


def _back(session: Session, **wanted: object) -> None:
    """Roll back to the first revision that had this version or this number of hosts."""
    for change in reversed(history.changes(session, "e")):
        flat = change.after.flat()
        if all(flat[name] == value for name, value in wanted.items()):
            deployments.rollback(session, "e", to_revision=change.revision, actor="bob")
            return
    raise AssertionError(wanted)


def _alias_moves(session: Session) -> None:
    aliases.move(session, "m", "champion", "3")
    deployments.follow(session, "m", "champion")


#: What a caller does to the deployment -> the state of the rollout then, and that of a shadow in its place.
CHANGES: dict[str, tuple[Callable[[Session], object], str, str]] = {
    "settings": (lambda s: deployments.configure(s, "e", settings={"hosts": 3}), "running", "running"),
    "group": (lambda s: deployments.configure(s, "e", worker_group="gpu"), "running", "running"),
    "same version": (lambda s: deployments.deploy(s, "m", endpoint_name="e"), "running", "running"),
    "back to other settings": (lambda s: _back(s, version="1", hosts=2), "running", "running"),
    "another version": (
        lambda s: deployments.deploy(s, "m", version="3", endpoint_name="e"), "aborted", "stopped",
    ),
    "another model": (lambda s: deployments.deploy(s, "n", endpoint_name="e"), "aborted", "stopped"),
    "the candidate": (
        lambda s: deployments.deploy(s, "m", version="2", endpoint_name="e"), "promoted", "stopped",
    ),
    "back to another version": (lambda s: _back(s, version="3"), "aborted", "stopped"),
    "alias": (_alias_moves, "aborted", "stopped"),
    "undeploy": (lambda s: deployments.undeploy(s, "e"), "aborted", "stopped"),
    "park": (lambda s: deployments.undeploy(s, "e", "park"), "aborted", "stopped"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["rollout", "shadow"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_deployment_ends_a_trial_whose_place_it_takes(session: Session, kind: str, change: str) -> None:
    deployments.deploy(session, "m", version="3", endpoint_name="e")
    aliases.move(session, "m", "champion", "1")
    deployments.deploy(session, "m", alias="champion", follow=True, endpoint_name="e", settings={"hosts": 1})
    trial = begun(session) if kind == "rollout" else shadows.create(session, "e", "2")
    make, of_rollout, of_shadow = CHANGES[change]
    make(session)
    session.commit()
    found = rollouts.find(session, trial.id) if kind == "rollout" else shadows.find(session, trial.id)
    expected = of_rollout if kind == "rollout" else of_shadow
    assert found.state == expected
    deployed = deployments.find(session, "e")
    assert deployed is not None
    assert (deployed.candidate is None) == (expected != "running")
    if expected != "running":
        assert found.reason


def test_a_candidate_is_not_deleted(session: Session) -> None:
    shadow = shadows.create(session, "e", "2")
    with pytest.raises(VersionJudged, match="is the candidate of e"):
        versions.delete_version(session, "m", "2")
    shadows.stop(session, shadow)
    versions.delete_version(session, "m", "2")


def test_pairs_are_stored_once_by_one_of_two_processes(session: Session) -> None:
    shadow = shadows.create(session, "e", "2")
    assert shadows.save_pairs(session, shadow, {"pairs": 3, "pairs_id": "1-3"}, {"n": 3})
    assert not shadows.save_pairs(session, shadow, {"pairs": 3, "pairs_id": "1-3"}, {"n": 3})
    assert shadows.find(session, shadow.id).options == {"pairs": 3, "pairs_id": "1-3"}
    assert shadows.comparison(session, shadow.id) == {"n": 3}


def waiting(session: Session, *, is_for_rollout: bool) -> tuple[Rollout, str]:
    """A rollout of version 2 that waits for its evaluation, and the id of that."""
    made = evaluations.create(
        session, "e", "2", source={"since": 0.0}, options={"comparison": {}}, is_for_rollout=is_for_rollout
    )
    rollout = rollouts.create(session, "e", "2", Plan(), evaluation_id=made.evaluation_id)
    assert rollout.state == "evaluating"
    return rollout, made.evaluation_id


@pytest.mark.parametrize(
    "end",
    [
        lambda s, rollout: rollouts.abort(s, rollout, "Enough.", is_strict=False),
        lambda s, _: deployments.deploy(s, "m", version="3", endpoint_name="e"),
        lambda s, _: deployments.deploy(s, "m", version="2", endpoint_name="e"),
        lambda s, _: deployments.undeploy(s, "e"),
    ],
    ids=["abort", "another version", "the candidate", "undeploy"],
)
def test_the_evaluation_for_which_a_rollout_waits_ends_with_it(
    session: Session, end: Callable[[Session, Rollout], object]
) -> None:
    rollout, evaluation_id = waiting(session, is_for_rollout=True)
    end(session, rollout)
    found = evaluations.find(session, evaluation_id)
    assert (found.state, found.error) == ("cancelled", "The rollout for which it was made has ended.")


def test_an_evaluation_that_was_there_before_its_rollout_goes_on(session: Session) -> None:
    rollout, evaluation_id = waiting(session, is_for_rollout=False)
    rollouts.abort(session, rollout, "Enough.")
    assert evaluations.find(session, evaluation_id).state == "waiting"


def test_the_report_of_an_evaluation_outlives_its_rollout(session: Session) -> None:
    rollout, evaluation_id = waiting(session, is_for_rollout=True)
    held = evaluations.hold(session, "a", 60.0)
    assert held is not None
    evaluations.fail(session, Hold(evaluation_id, "a", 60.0), "No worker.")
    rollouts.abort(session, rollout, "Enough.", is_strict=False)
    assert evaluations.find(session, evaluation_id).error == "No worker."
