"""Evaluations in the registry: each transition is conditional, and one process at a time has the right to make it."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from registry import deployments, versions
from registry.errors import (
    DeploymentNotFound,
    EvaluationChanged,
    EvaluationNotFound,
    EvaluationRefused,
    EvaluationUnfinished,
    VersionEvaluated,
    VersionNotFound,
)
from registry.intent import Intent
from registry.judging import evaluations
from registry.judging.evaluations import Evaluation, Hold
from registry.trials.trials import EvaluationState
from tests.registry.conftest import Registrar

OPTIONS = {"max_jobs": 10, "control": 0.1, "max_s": 60, "comparison": {}}


@pytest.fixture(autouse=True)
def _deployed(session: Session, add: Registrar) -> None:
    for _ in range(3):
        add("m")
    settings = {"callback_url": "https://example.com/", "timeout_s": 7.0, "hosts": 4, "journal": 1.0}
    deployments.deploy(session, "m", version="1", endpoint_name="e", settings=settings, worker_group="gpu")


def made(session: Session, version: str = "2") -> Evaluation:
    return evaluations.create(session, "e", version, source={"since": 0, "until": 1}, options=OPTIONS, actor="ada")


def held(session: Session, holder: str = "a") -> Hold:
    found = evaluations.hold(session, holder, 20.0)
    assert found is not None
    return Hold(found.evaluation_id, holder, 20.0)


def test_only_another_version_of_a_deployed_endpoint_can_be_evaluated(session: Session) -> None:
    with pytest.raises(EvaluationRefused, match="serves version 1 already"):
        made(session, "1")
    with pytest.raises(VersionNotFound):
        made(session, "9")
    deployments.undeploy(session, "e")
    with pytest.raises(DeploymentNotFound):
        made(session)


def test_one_process_has_an_evaluation_until_it_says_nothing_for_too_long(session: Session) -> None:
    found = made(session)
    mine = held(session)
    assert evaluations.hold(session, "b", 20.0) is None
    assert evaluations.hold(session, "a", -1.0) is not None, "its holder goes on after a restart of its work"
    theirs = held(session, "b")
    with pytest.raises(EvaluationChanged):
        evaluations.load(session, mine, {})
    assert evaluations.load(session, theirs, {"jobs": 3}).state is EvaluationState.LOADING
    assert evaluations.find(session, found.evaluation_id).progress == {"jobs": 3}


def test_transitions_follow_each_other_and_an_end_is_final(session: Session) -> None:
    evaluation_id, mine = made(session).evaluation_id, held(session)
    with pytest.raises(EvaluationChanged, match="is waiting and can't replay"):
        evaluations.replay(session, mine)
    evaluations.load(session, mine, {})
    evaluations.replay(session, mine)
    assert evaluations.save(session, mine, progress={"replayed": 2}).progress == {"replayed": 2}
    with pytest.raises(EvaluationUnfinished):
        evaluations.delete(session, evaluation_id)
    done = evaluations.succeed(session, mine, {"verdict": "same"}, {"replayed": 3})
    assert (done.state, done.verdict, done.report) == (EvaluationState.SUCCEEDED, "same", {"verdict": "same"})
    with pytest.raises(EvaluationChanged, match="is succeeded"):
        evaluations.cancel(session, evaluation_id)
    with pytest.raises(EvaluationChanged, match="is succeeded"):
        evaluations.fail(session, mine, "late")
    with pytest.raises(EvaluationUnfinished, match="are being removed"):
        evaluations.delete(session, evaluation_id)
    evaluations.clear(session, mine)
    evaluations.delete(session, evaluation_id)
    with pytest.raises(EvaluationNotFound):
        evaluations.find(session, evaluation_id)


def test_its_deployments_serve_while_it_runs_and_reject_what_is_left_until_it_is_cleared(session: Session) -> None:
    evaluation_id, mine = made(session).evaluation_id, held(session)
    assert not evaluations.desired(session)
    evaluations.load(session, mine, {})
    candidate, stable = evaluations.desired(session, "gpu")
    assert (candidate.version, stable.version) == ("2", "1")
    assert (candidate.is_replay, candidate.intent) == (True, Intent.SERVE)
    settings = candidate.settings
    assert (settings.timeout_s, settings.hosts, settings.callback_url, settings.journal) == (7.0, 1, None, 0)
    assert not evaluations.desired(session, "default")
    before = evaluations.desired(session, "gpu")
    evaluations.save(session, mine, progress={"replayed": 1})
    assert evaluations.desired(session, "gpu") == before, "progress is no change for workers"
    evaluations.cancel(session, evaluation_id)
    assert {each.intent for each in evaluations.desired(session)} == {Intent.REJECT}
    evaluations.clear(session, mine)
    assert not evaluations.desired(session)


def test_a_version_is_kept_while_it_is_evaluated(session: Session) -> None:
    evaluation_id = made(session).evaluation_id
    with pytest.raises(VersionEvaluated, match=evaluation_id):
        versions.delete_version(session, "m", "2")
    evaluations.cancel(session, evaluation_id)
    versions.delete_version(session, "m", "2")


def test_an_evaluation_that_is_put_off_leaves_the_turn_to_others(session: Session) -> None:
    first, second = made(session), made(session, "3")
    mine = held(session)
    assert mine.evaluation_id == first.evaluation_id
    evaluations.put_off(session, mine, 20.0)
    assert held(session).evaluation_id == second.evaluation_id
