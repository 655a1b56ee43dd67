"""Endpoints that follow an alias: a move is a swap of each, or a rollout where its settings have one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry import deployments
from registry.catalog import aliases
from registry.database.tables import RolloutRow
from registry.deployments import DesiredDeployment
from registry.errors import DeploymentChanged
from registry.intent import Intent
from registry.judging import rollouts, shadows
from registry.serving.rollout_plan import FollowedRollout
from registry.trials import trials

#: Undeployed endpoints serve no version.
_FOLLOWING = (Intent.SERVE, Intent.PARK)


@dataclass(frozen=True)
class Followed:
    """What a move of an alias has changed."""

    #: The endpoints that serve its version instead of theirs.
    swapped: list[str]
    #: The endpoints on which a rollout of its version has begun.
    rolling_out: list[str]
    #: The endpoints whose trial has ended, because they serve its version.
    returned: list[str]

    @property
    def changed(self) -> list[str]:
        """All of them."""
        return [*self.swapped, *self.rolling_out, *self.returned]


@dataclass(frozen=True)
class Following:
    """Where an endpoint stands that follows an alias."""

    alias: str
    #: The version that the alias names.
    version: str
    #: The version that the endpoint serves.
    serves: str
    #: The state of the last rollout of the alias's version, and its reason; None without one.
    rollout: str | None
    reason: str | None

    @property
    def text(self) -> str:
        """The same in words: `follows champion → version 4, aborted; serves 3`."""
        if self.version == self.serves:
            return f"follows {self.alias} → version {self.version}"
        return f"follows {self.alias} → version {self.version}, {self.rollout or 'not served'}; serves {self.serves}"

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {**vars(self), "text": self.text}


def due(session: Session, model_name: str, alias: str, version: str) -> dict[str, FollowedRollout]:
    """Return the endpoints on which a move of an alias to this version begins a rollout, and how each goes.

    Raises:
        ModelNotFound, AliasNotFound: there is no such alias.
    """
    found = {}
    if aliases.find(session, model_name, alias).version != version:
        for each in _careful(session, model_name, alias):
            trial = trials.active(session, each.endpoint_name)
            goes_on = trial is not None and (trial.kind, trial.version) == ("rollout", version)
            if each.settings.rollout is not None and each.version != version and not goes_on:
                found[each.endpoint_name] = each.settings.rollout
    return found


def follow(  # noqa: PLR0913 - a move, by name
    session: Session,
    model_name: str,
    alias: str,
    *,
    is_moved: bool = True,
    evaluations: Mapping[str, Callable[[], str]] | None = None,
    actor: str | None = None,
) -> Followed:
    """Let the endpoints that follow an alias serve the version that it names, in the transaction of its move.

    An endpoint whose settings have a rollout keeps its version, and a rollout of the alias's version begins; one that
    goes on there for another version is aborted, and a shadow is stopped. If the alias is not moved, no rollout
    begins: a repeated call doesn't try again what was aborted. `evaluations` creates, by endpoint, the evaluation with
    which its rollout begins, and returns its id.

    Raises:
        AliasNotFound: there is no such alias.
        DeploymentChanged: one of them was changed meanwhile.
    """
    version = aliases.find(session, model_name, alias).version
    careful = _careful(session, model_name, alias)
    rolling_out, returned = [], []
    for each in careful if is_moved else ():
        had_trial = _end_other(session, each, alias, version, actor)
        if each.version == version:
            returned += [each.endpoint_name] if had_trial else []
        elif trials.active(session, each.endpoint_name) is None:
            _begin(session, each, version, (evaluations or {}).get(each.endpoint_name), actor)
            rolling_out.append(each.endpoint_name)
    names = {each.endpoint_name for each in careful}
    swapped = deployments.follow(session, model_name, alias, but=names, actor=actor)
    return Followed([each.endpoint_name for each in swapped], rolling_out, returned)


def standings(session: Session, found: Sequence[DesiredDeployment]) -> dict[str, Following]:
    """Return where those of these endpoints stand that follow an alias, by name."""
    mine = [each for each in found if each.followed_alias is not None and each.intent in _FOLLOWING]
    named = aliases.naming(session, sorted({each.model_name for each in mine})) if mine else {}
    standing = {}
    for each in mine:
        version = named.get(each.model_name, {}).get(each.followed_alias or "")
        if version is None:
            continue
        state, reason = (None, None) if version == each.version else _last_rollout(session, each, version)
        standing[each.endpoint_name] = Following(each.followed_alias or "", version, each.version, state, reason)
    return standing


def _careful(session: Session, model_name: str, alias: str) -> list[DesiredDeployment]:
    """Return the served endpoints that follow an alias and whose settings have a rollout."""
    found = [deployments.find(session, name) for name in aliases.followers(session, model_name, alias)]
    served = [each for each in found if each is not None and each.intent is Intent.SERVE]
    return [each for each in served if each.settings.rollout is not None]


def _end_other(session: Session, desired: DesiredDeployment, alias: str, version: str, actor: str | None) -> bool:
    """End the trial of an endpoint that is in the way of this version; return whether there was one."""
    trial = trials.active(session, desired.endpoint_name)
    if trial is None or (trial.kind, trial.version) == ("rollout", version):
        return False
    if trial.kind == "shadow" and desired.version == version:
        return False  # nothing takes its place
    reason = f"The alias {alias} was moved to version {version}."
    if trial.kind == "rollout":
        rollouts.abort(session, rollouts.find(session, trial.id), reason, actor=actor, is_strict=False)
    else:
        shadows.stop(session, shadows.find(session, trial.id), reason, actor=actor)
    return True


def _begin(
    session: Session,
    desired: DesiredDeployment,
    version: str,
    evaluation: Callable[[], str] | None,
    actor: str | None,
) -> None:
    name, how = desired.endpoint_name, desired.settings.rollout
    # The settings were read without a lock. The lock is taken first; whatever has changed before it is a refusal.
    _, stable_version = rollouts.held(session, name, version)
    now = deployments.find(session, name)
    needs_evaluation = how is not None and how.start is not None
    if (
        how is None
        or now is None
        or (now.settings.rollout, now.followed_alias, stable_version) != (how, desired.followed_alias, desired.version)
        or needs_evaluation != (evaluation is not None)
    ):
        raise DeploymentChanged(name, desired.revision, desired.revision if now is None else now.revision)
    evaluation_id = None if evaluation is None else evaluation()
    rollouts.create(session, name, version, how.plan, evaluation_id=evaluation_id, actor=actor)


def _last_rollout(session: Session, desired: DesiredDeployment, version: str) -> tuple[str | None, str | None]:
    query = select(RolloutRow.state, RolloutRow.reason).where(
        RolloutRow.endpoint_name == desired.endpoint_name,
        RolloutRow.model_name == desired.model_name,
        RolloutRow.version == version,
    )
    found = session.execute(query.order_by(RolloutRow.created_at.desc()).limit(1)).first()
    return (None, None) if found is None else (found.state, found.reason)
