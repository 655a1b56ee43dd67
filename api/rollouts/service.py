"""Starts, shows and steers shadows and rollouts. What they do next, the background process decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from api.auth import identity
from api.deployments import service as deployment_service
from api.evaluations import service as evaluation_service
from api.evaluations.schemas import NewEvaluation
from api.process.services import Services
from api.rollouts.schemas import RolloutStart, ShadowStart
from registry import deployments
from registry.errors import DeploymentNotFound, RolloutRefused
from registry.judging import rollouts, shadows
from registry.judging.rollouts import Rollout
from registry.judging.shadows import Shadow
from workers.judging import rollout_decisions, rollout_duty, trial_figures
from workers.judging.comparison.comparison import Comparison

View = dict[str, Any]
#: A transition that a caller asks for; it gets the reason and the name of the caller.
Transition = Callable[[Session, Rollout, str | None, str | None], None]


def start_rollout(services: Services, endpoint_name: str, wanted: RolloutStart) -> View:
    """Begin a rollout: with its evaluation, or else workers load the candidate, and its first step follows.

    Raises:
        DeploymentNotFound, VersionNotFound: there is no such endpoint or version.
        SettingsInvalid: its steps don't grow.
        TrialRefused: the endpoint isn't served, serves this version, or the evaluation is one of something else.
        TrialActive: it has a shadow or a rollout.
        EvaluationRefused: the journal has no jobs to evaluate it with.
        DeploymentUnconfirmed: the registry has it, but Redis can't be reached.
    """
    plan = wanted.plan.check()
    draft = _evaluation(services, endpoint_name, wanted)
    with services.database.session() as session:
        actor, evaluation_id = identity.current().name, wanted.evaluation_id
        if draft is not None:
            evaluation_id = evaluation_service.add(session, draft, is_for_rollout=True).evaluation_id
        rollouts.create(session, endpoint_name, wanted.version, plan, evaluation_id=evaluation_id, actor=actor)
        session.commit()
    deployment_service.announce(services, [endpoint_name])
    return show_rollout(services, endpoint_name)


def _evaluation(services: Services, endpoint_name: str, wanted: RolloutStart) -> evaluation_service.Draft | None:
    """Return the evaluation that the rollout begins with; None if it needs no new one."""
    if wanted.start is None:
        return None
    asked = NewEvaluation(endpoint_name=endpoint_name, version=wanted.version, since=wanted.since)
    return evaluation_service.draft(services, asked)


def show_rollout(services: Services, endpoint_name: str) -> View:
    """Return the active or else the latest rollout of an endpoint.

    Raises:
        DeploymentNotFound, RolloutNotFound: there is none.
        QueueUnavailable: Redis can't be reached.
    """
    with services.database.session() as session:
        _refuse_unknown(session, endpoint_name)
        rollout = rollouts.latest(session, endpoint_name)
        events = rollouts.events(session, rollout.id)
        compared = rollouts.comparison(session, rollout.id)
    figures = trial_figures.read(rollout.id, rollout.figures)
    return {
        **_summary(rollout),
        "jobs_in_step": rollout_duty.progress(rollout, figures).jobs_in_step,
        "figures": rollout_decisions.document(figures, rollout.rules),
        "report": _report(compared),
        "events": [each.document() for each in events],
    }


def list_rollouts(services: Services, endpoint_name: str) -> View:
    """Return the rollouts of an endpoint, newest first. Raises DeploymentNotFound."""
    with services.database.session() as session:
        _refuse_unknown(session, endpoint_name)
        found = rollouts.of_endpoint(session, endpoint_name)
    return {"endpoint_name": endpoint_name, "rollouts": [_summary(each) for each in found]}


def has_rollout(services: Services, endpoint_name: str) -> bool:
    """Whether the endpoint has a rollout, or had one."""
    with services.database.session() as session:
        return bool(rollouts.of_endpoint(session, endpoint_name, limit=1))


def pause(session: Session, rollout: Rollout, reason: str | None, actor: str | None) -> None:
    """Running → paused."""
    if rollout.state != "running":
        raise RolloutRefused(rollout.endpoint_name, "pause", rollout.state)
    rollouts.pause(session, rollout, reason, actor=actor, is_strict=False)


def resume(session: Session, rollout: Rollout, reason: str | None, actor: str | None) -> None:  # noqa: ARG001
    """Paused → running."""
    rollouts.resume(session, rollout, actor=actor)


def promote(session: Session, rollout: Rollout, reason: str | None, actor: str | None) -> None:
    """running, paused → promoted."""
    rollouts.promote(session, rollout, reason, actor=actor, is_strict=False)


def abort(session: Session, rollout: Rollout, reason: str | None, actor: str | None) -> None:
    """Any active state → aborted."""
    rollouts.abort(session, rollout, reason, actor=actor, is_strict=False)


def steer(services: Services, endpoint_name: str, transition: Transition, reason: str | None = None) -> View:
    """Make a transition of an endpoint's rollout that a caller asks for; return its view.

    Raises:
        DeploymentNotFound, RolloutNotFound: there is none.
        RolloutRefused: its state doesn't allow this.
        DeploymentUnconfirmed: the registry has it, but Redis can't be reached.
    """
    with services.database.session() as session:
        _refuse_unknown(session, endpoint_name)
        transition(session, rollouts.latest(session, endpoint_name), reason, identity.current().name)
        session.commit()
    deployment_service.announce(services, [endpoint_name])
    return show_rollout(services, endpoint_name)


def start_shadow(services: Services, endpoint_name: str, wanted: ShadowStart) -> View:
    """Begin a shadow. Raises as `start_rollout`."""
    with services.database.session() as session:
        shadows.create(session, endpoint_name, wanted.version, wanted.share, actor=identity.current().name)
        session.commit()
    deployment_service.announce(services, [endpoint_name])
    return show_shadow(services, endpoint_name)


def show_shadow(services: Services, endpoint_name: str) -> View:
    """Return the running or else the latest shadow of an endpoint.

    Raises:
        DeploymentNotFound, ShadowNotFound: there is none.
        QueueUnavailable: Redis can't be reached.
    """
    with services.database.session() as session:
        _refuse_unknown(session, endpoint_name)
        shadow = shadows.latest(session, endpoint_name)
        compared = shadows.comparison(session, shadow.id)
    return _shadow_view(shadow, compared)


def stop_shadow(services: Services, endpoint_name: str) -> View:
    """Stop the shadow of an endpoint; its report stays. Raises as `show_shadow`."""
    with services.database.session() as session:
        _refuse_unknown(session, endpoint_name)
        shadows.stop(session, shadows.latest(session, endpoint_name), actor=identity.current().name)
        session.commit()
    deployment_service.announce(services, [endpoint_name])
    return show_shadow(services, endpoint_name)


def _shadow_view(shadow: Shadow, compared: dict[str, Any] | None) -> View:
    names = ("id", "endpoint_name", "model_name", "version", "stable_version", "share", "state", "reason")
    return {
        **{name: getattr(shadow, name) for name in names},
        "by": shadow.actor,
        "started_at": shadow.started_at.isoformat(),
        "stopped_at": None if shadow.stopped_at is None else shadow.stopped_at.isoformat(),
        **trial_figures.copies(shadow.id),
        "pairs": shadow.options.get("pairs", 0),
        "disagreements": shadow.options.get("disagreements", 0),
        "report": _report(compared),
    }


def _summary(rollout: Rollout) -> View:
    names = ("id", "endpoint_name", "model_name", "version", "stable_version", "state", "reason", "steps", "weight")
    times = {
        name: None if (at := getattr(rollout, name)) is None else at.isoformat()
        for name in ("created_at", "step_started_at", "finished_at")
    }
    more = ("min_jobs", "step_s", "on_failure", "evaluation_id")
    return {
        **{name: getattr(rollout, name) for name in (*names, *more)},
        **times,
        "step": rollout.step + 1,
        "rules": vars(rollout.rules),
        "by": rollout.actor,
    }


def _report(compared: dict[str, Any] | None) -> View | None:
    if compared is None:
        return None
    return Comparison.restored(compared["comparison"]).report()


def _refuse_unknown(session: Session, endpoint_name: str) -> None:
    if deployments.find(session, endpoint_name) is None:
        raise DeploymentNotFound(endpoint_name)
