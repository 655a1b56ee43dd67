"""The history of deployments: a row for each change of a desired deployment, and its outcome.

It must not decide anything: a deployment is what its own row says, also if a release without a history has written it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import delete as delete_from
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from registry import names
from registry.database.tables import DeploymentChangeRow, DeploymentRow
from registry.errors import DeploymentNotFound, RevisionNotFound
from registry.intent import Intent
from registry.serving.settings import ServingSettings

#: The number of revisions of an endpoint whose changes are kept.
KEPT_REVISIONS = 100
#: The name of changes that programs make beside the database, without an API key.
COMMAND_LINE = "command line"
_LONGEST_REASON = 2_000
#: Fields of a state that most states don't have, and rows of earlier releases neither.
_OPTIONAL = ("followed_alias", "candidate_version", "candidate_weight")

#: What differs between two states, by the name of the field or setting: {"from": …, "to": …}.
Differences = dict[str, dict[str, Any]]


class Action(StrEnum):
    """What kind of change it was."""

    #: A new endpoint, one that is served again after an undeploy, or the same version once more.
    DEPLOY = "deploy"
    #: Another version or another model on an endpoint that is served.
    SWAP = "swap"
    #: Other settings or another worker group, the same version.
    CONFIGURE = "configure"
    UNDEPLOY = "undeploy"
    #: Back to the state of an earlier revision.
    ROLLBACK = "rollback"
    #: A candidate predicts jobs after their ends, or does so no longer.
    SHADOW = "shadow"
    SHADOW_END = "shadow end"
    #: A candidate is loaded, or answers another share of the jobs.
    ROLLOUT_STEP = "rollout step"
    #: A rollout's candidate is the version that serves.
    PROMOTE = "promote"
    #: A rollout's candidate is gone.
    ABORT = "abort"
    #: Not stored: a program without a history has made the change.
    UNRECORDED = "unrecorded"


class Outcome(StrEnum):
    """The outcome of a change; it is stored when a request first sees it."""

    #: The workers serve it.
    ACTIVE = "active"
    #: The workers could not load it.
    FAILED = "failed"
    #: Nothing of it runs any more.
    UNDEPLOYED = "undeployed"
    #: Nothing of it runs any more, and its jobs wait.
    PARKED = "parked"
    #: The next change came before a request saw an outcome.
    SUPERSEDED = "superseded"


@dataclass(frozen=True)
class State:
    """What was desired of an endpoint at one revision."""

    model_name: str
    version: str
    worker_group: str
    intent: Intent
    #: As stored: also settings that only a newer release knows.
    settings: Mapping[str, Any]
    followed_alias: str | None = None
    #: The version of the candidate, and the share of jobs that it answers.
    candidate_version: str | None = None
    candidate_weight: float | None = None

    @classmethod
    def of(cls, row: DeploymentRow) -> State:
        """Return the state of a deployment's row."""
        return cls(
            row.model_name,
            row.version,
            row.worker_group,
            row.intent,
            dict(row.settings),
            row.followed_alias,
            row.candidate.version if row.candidate else None,
            row.candidate.weight if row.candidate else None,
        )

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> State:
        """Return a stored state."""
        named = {name: document[name] for name in ("model_name", "version", "worker_group", "settings")}
        optional: dict[str, Any] = {name: document.get(name) for name in _OPTIONAL}
        return cls(**{**named, **optional}, intent=Intent(document["intent"]))

    def without_candidate(self) -> State:
        """Return what a rollback brings of it: all but the candidate, whose trial is over."""
        return replace(self, candidate_version=None, candidate_weight=None)

    @property
    def serves(self) -> bool:
        """Whether it is to be served."""
        return self.intent is Intent.SERVE

    def stored(self) -> dict[str, Any]:
        """Return it as it is stored."""
        return {**vars(self), "settings": dict(self.settings)}

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document, with the value of every setting."""
        return {**vars(self), "settings": ServingSettings.stored(self.settings).model_dump()}

    def flat(self) -> dict[str, Any]:
        """Return all values beside each other: those of its fields, and those of its settings."""
        document = self.document()
        settings = document.pop("settings")
        return {**document, **settings}


@dataclass(frozen=True)
class Change:
    """One change of a deployment."""

    revision: int
    action: str
    #: The name of an API key, `COMMAND_LINE`, or None for anybody.
    actor: str | None
    changed_at: datetime
    #: None for a new endpoint, or if it is unknown.
    before: State | None
    after: State
    #: The revision to which a rollback went.
    rolled_back_to: int | None
    #: None until a request has seen one.
    outcome: str | None
    reason: str | None
    settled_at: datetime | None

    @property
    def differences(self) -> Differences:
        """What it has changed."""
        return differences(self.before, self.after)

    def document(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {
            "revision": self.revision,
            "action": self.action,
            "by": self.actor,
            "at": self.changed_at.isoformat(),
            "from": None if self.before is None else self.before.document(),
            "to": self.after.document(),
            "changes": self.differences,
            "rolled_back_to": self.rolled_back_to,
            "outcome": self.outcome,
            "reason": self.reason,
            "settled_at": None if self.settled_at is None else self.settled_at.isoformat(),
        }


def differences(before: State | None, after: State) -> Differences:
    """Return what differs; of a new endpoint, everything that is not a default."""
    defaults = {**ServingSettings().model_dump(), **dict.fromkeys(_OPTIONAL)}
    earlier = defaults if before is None else before.flat()
    return {
        name: {"from": None if before is None and name not in defaults else earlier.get(name), "to": value}
        for name, value in after.flat().items()
        if (before is None and name not in defaults) or earlier.get(name) != value
    }


def record(  # noqa: PLR0913 - the fields of a change, by name
    session: Session,
    row: DeploymentRow,
    action: Action,
    before: State | None,
    *,
    actor: str | None,
    rolled_back_to: int | None = None,
) -> None:
    """Write the change that has made this row, in the session of the change; forget the oldest ones."""
    mine = DeploymentChangeRow.endpoint_name == row.endpoint_name
    session.execute(
        update(DeploymentChangeRow)
        .where(mine, DeploymentChangeRow.outcome.is_(None))
        .values(outcome=Outcome.SUPERSEDED, settled_at=row.updated_at)
        .execution_options(synchronize_session=False)
    )
    # Later revisions are those of another database, from which this one was restored or copied.
    oldest, revision = row.revision - KEPT_REVISIONS, DeploymentChangeRow.revision
    session.execute(
        delete_from(DeploymentChangeRow)
        .where(mine, or_(revision <= oldest, revision >= row.revision))
        .execution_options(synchronize_session=False)
    )
    session.add(
        DeploymentChangeRow(
            endpoint_name=row.endpoint_name,
            revision=row.revision,
            action=action,
            actor=actor,
            changed_at=row.updated_at,
            before=None if before is None else before.stored(),
            after=State.of(row).stored(),
            rolled_back_to=rolled_back_to,
        )
    )
    session.flush()


def settle(session: Session, endpoint_name: str, revision: int, outcome: Outcome, reason: str | None) -> bool:
    """Store the outcome of a change if it has none yet, or a failure that has been overcome; return whether it did."""
    change = _find(session, endpoint_name, revision)
    if change is None or change.outcome not in (None, Outcome.FAILED) or change.outcome == outcome:
        return False
    session.execute(
        update(DeploymentChangeRow)
        .where(DeploymentChangeRow.endpoint_name == endpoint_name, DeploymentChangeRow.revision == revision)
        .where(or_(DeploymentChangeRow.outcome.is_(None), DeploymentChangeRow.outcome == Outcome.FAILED))
        .values(outcome=outcome, reason=(reason or "")[:_LONGEST_REASON] or None, settled_at=datetime.now(UTC))
        .execution_options(synchronize_session=False)
    )
    return True


def change_of(session: Session, endpoint_name: str, revision: int) -> Change | None:
    """Return the change that made a revision; None if it is not known."""
    row = _find(session, endpoint_name, revision)
    return None if row is None else _view(row)


def settings_in(session: Session, endpoint_name: str) -> Callable[[float, float], list[Mapping[str, Any]] | None]:
    """Return a function of two times (s since the epoch): which settings of an endpoint were in force between them.

    It returns None if the history doesn't say that. The history is read once, and only for times before its last line.
    """
    row = session.get(DeploymentRow, endpoint_name) if names.could_exist(endpoint_name) else None
    kept = list[Change]()

    def between(since: float, until: float) -> list[Mapping[str, Any]] | None:
        if row is None:
            return None
        if row.updated_at.timestamp() < since:
            return [row.settings]
        if not kept:
            kept.extend(changes(session, endpoint_name))
        return _settings_between(kept, since, until)

    return between


def _settings_between(found: Sequence[Change], since: float, until: float) -> list[Mapping[str, Any]] | None:
    """Return the settings that were in force between two times, by changes from the newest on; None if unknown."""
    states, revision = list[Mapping[str, Any]](), None
    for change in found:
        changed_at = change.changed_at.timestamp()
        if change.action == Action.UNRECORDED or revision not in (None, change.revision + 1):
            return None
        revision = change.revision
        if changed_at <= until:
            states.append(change.after.settings)
        if changed_at < since or change.before is None:
            return states
    return None


def changes(session: Session, endpoint_name: str, limit: int = KEPT_REVISIONS) -> list[Change]:
    """Return the kept changes of an endpoint, newest first.

    If a program without a history has made the last one, it is the first of the list, without what it changed.

    Raises:
        DeploymentNotFound: it was never deployed.
    """
    now = session.get(DeploymentRow, endpoint_name) if names.could_exist(endpoint_name) else None
    if now is None:
        raise DeploymentNotFound(endpoint_name)
    rows = session.scalars(
        select(DeploymentChangeRow)
        .where(DeploymentChangeRow.endpoint_name == endpoint_name, DeploymentChangeRow.revision <= now.revision)
        .order_by(DeploymentChangeRow.revision.desc())
        .limit(limit)
        .execution_options(populate_existing=True)
    )
    found = [_view(row) for row in rows]
    if not found or found[0].revision < now.revision:
        found.insert(0, _unrecorded(now, found[0] if found else None))
    return found[:limit]


def state_at(found: list[Change], endpoint_name: str, revision: int) -> State:
    """Return the state at a revision of an endpoint with these changes. Raises RevisionNotFound if none knows it."""
    known = states(found)
    if revision not in known:
        raise RevisionNotFound(endpoint_name, revision, sorted(known))
    return known[revision]


def states(found: list[Change]) -> dict[int, State]:
    """Return the states that these changes know, by revision; a change also knows the state before it."""
    before = {each.revision - 1: each.before for each in found if each.before is not None}
    return {**before, **{each.revision: each.after for each in found}}


def previous(found: list[Change]) -> int | None:
    """Return the latest revision that was served and differs from the present one; None if there is none.

    Of an undeployed endpoint, it is the one that was served last. Changes that have failed are passed over.
    """
    known, now = states(found), found[0]
    present = now.after.without_candidate()
    failed = {each.revision for each in found if each.outcome == Outcome.FAILED}
    for revision in sorted(known, reverse=True):
        state = known[revision]
        is_other = not now.after.serves or bool(differences(present, state.without_candidate()))
        if revision < now.revision and state.serves and revision not in failed and is_other:
            return revision
    return None


def _unrecorded(now: DeploymentRow, last: Change | None) -> Change:
    is_next = last is not None and last.revision == now.revision - 1
    return Change(
        revision=now.revision,
        action=Action.UNRECORDED,
        actor=None,
        changed_at=now.updated_at,
        before=last.after if last is not None and is_next else None,
        after=State.of(now),
        rolled_back_to=None,
        outcome=None,
        reason=None,
        settled_at=None,
    )


def _find(session: Session, endpoint_name: str, revision: int) -> DeploymentChangeRow | None:
    return session.scalars(
        select(DeploymentChangeRow)
        .where(DeploymentChangeRow.endpoint_name == endpoint_name, DeploymentChangeRow.revision == revision)
        .execution_options(populate_existing=True)
    ).one_or_none()


def _view(row: DeploymentChangeRow) -> Change:
    return Change(
        revision=row.revision,
        action=row.action,
        actor=row.actor,
        changed_at=row.changed_at,
        before=None if row.before is None else State.parse(row.before),
        after=State.parse(row.after),
        rolled_back_to=row.rolled_back_to,
        outcome=row.outcome,
        reason=row.reason,
        settled_at=row.settled_at,
    )
