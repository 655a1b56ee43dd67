"""The duty that decides rollouts: looks at each once a second, and makes the transition that the figures ask for.

It holds nothing between two looks. Several background processes may do it side by side, and one may be killed at any
moment: each transition is one transaction that refuses if another process has made it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from registry import deployments
from registry.database import Database, default_database
from registry.deployments import DesiredDeployment
from registry.errors import CandidateGone, RegistryUnavailable, RolloutRefused, ShadowNotFound, TrialRefused
from registry.judging import rollouts, shadows
from registry.judging.rollouts import Rollout
from registry.judging.shadows import Shadow
from registry.trials.trials import RolloutState
from workers.deployments import status
from workers.errors import QueueUnavailable
from workers.judging import rollout_decisions, trial_figures
from workers.judging.rollout_decisions import Action, Figures, Progress
from workers.measures.reports import HostsState, SeenReport, VersionReport

_log = logging.getLogger(__name__)

LOOK_INTERVAL_S = 1.0
#: Another process was quicker, or a caller has changed the deployment: the next look sees it.
_OUTRUN = (RolloutRefused, CandidateGone, ShadowNotFound, TrialRefused)
_DISPLACED = "The endpoint no longer serves the version beside which it began."
#: The workers that a reason names.
_NAMED_WORKERS = 5
#: By the name of a worker, its report on the candidate's hosts; None without any.
Pools = Mapping[str, VersionReport | None]
#: The verdicts of an evaluation after which the rollout begins, and those after which it doesn't.
_GOOD, _BAD = ("same", "better"), ("differs", "worse")


class RolloutDuty:
    """Decides rollouts, and ends shadows that no worker can load."""

    name = "deciding rollouts"

    def __init__(self, database: Database | None = None) -> None:
        self._database = database

    def run(self, stopping: threading.Event) -> None:
        """Look at each rollout once a second until `stopping` is set.

        Raises:
            RegistryUnavailable: the registry can't be reached.
        """
        while not stopping.is_set():
            self.look()
            stopping.wait(LOOK_INTERVAL_S)

    def look(self) -> None:
        """Look at each trial once, and make what transitions are due."""
        database = self._database or default_database()
        with database.session() as session:
            found: list[Rollout | Shadow] = [*rollouts.active(session), *shadows.active(session)]
        if not found:
            return
        try:
            seen = status.live_workers()
            changed = [each for each in found if self._changed(database, each, seen)]
            if changed:
                status.nudge()
        except QueueUnavailable as error:
            # What workers have not heard by a nudge, they see at their next look.
            _log.warning("rollouts wait for Redis: %s", error)

    def _changed(self, database: Database, trial: Rollout | Shadow, seen: Sequence[SeenReport]) -> bool:
        with database.session() as session:
            try:
                is_changed = _decided(session, trial, seen)
                session.commit()
            except _OUTRUN as error:
                _log.info("a decision about %s was not needed any more: %s", trial.endpoint_name, error)
                return False
            except (QueueUnavailable, RegistryUnavailable):
                raise
            except Exception:  # noqa: BLE001 - the other trials are looked at all the same
                _log.exception("looking at the trial of %s failed", trial.endpoint_name)
                return False
        return is_changed


def _decided(session: Session, trial: Rollout | Shadow, seen: Sequence[SeenReport]) -> bool:
    """Make the transition of a trial that is due, if any; return whether there was one."""
    desired = deployments.find(session, trial.endpoint_name)
    if desired is None or not _has_place(desired, trial):
        _end(session, trial, _DISPLACED)
        return True
    of_group = [each for each in seen if each["worker_group"] == desired.worker_group and _may_serve(each, trial)]
    pools = {worker["worker"]: _candidate_pool(worker, trial) for worker in of_group}
    failed = next((each for each in pools.values() if each and each["state"] == HostsState.FAILED), None)
    if failed is not None:
        _end(session, trial, f"The candidate can't be loaded: {failed['error'] or 'no reason was reported'}")
        return True
    if not isinstance(trial, Rollout):
        return False
    if trial.state is RolloutState.EVALUATING:
        return _evaluated(session, trial)
    if trial.state is RolloutState.LOADING:
        return _loaded(session, trial, pools, _too_old(of_group, pools))
    return _judged(session, trial)


def _may_serve(worker: SeenReport, trial: Rollout | Shadow) -> bool:
    """Whether a worker doesn't leave the deployment to others of its group."""
    endpoint = worker["endpoints"].get(trial.endpoint_name)
    return endpoint is None or all(each["state"] != HostsState.NOT_PLACED for each in endpoint["versions"])


def _candidate_pool(worker: SeenReport, trial: Rollout | Shadow) -> VersionReport | None:
    """Return the report on the candidate's hosts of a worker; None if it has none."""
    endpoint = worker["endpoints"].get(trial.endpoint_name)
    return next((each for each in endpoint["versions"] if _is_candidate(each, trial)), None) if endpoint else None


def _too_old(workers: Sequence[SeenReport], pools: Pools) -> list[str]:
    """Return the names of the workers whose release serves no candidates."""
    return [each["worker"] for each in workers if "release" not in each and pools[each["worker"]] is None]


def _is_candidate(report: VersionReport, trial: Rollout | Shadow) -> bool:
    arm: Any = report.get("arm")
    return arm == trial_figures.CANDIDATE and report["version"] == trial.version


def _has_place(desired: DesiredDeployment, trial: Rollout | Shadow) -> bool:
    """Whether the deployment still has this trial: a release without trials may have changed it."""
    is_bound = desired.intent == "serve" and (desired.model_name, desired.version) == (
        trial.model_name,
        trial.stable_version,
    )
    if not is_bound:
        return False
    needs_none = isinstance(trial, Rollout) and trial.step < 0 and trial.state is not RolloutState.LOADING
    return needs_none or (desired.candidate is not None and desired.candidate.trial_id == trial.id)


def _end(session: Session, trial: Rollout | Shadow, reason: str) -> None:
    if isinstance(trial, Rollout):
        figures = trial_figures.read(trial.id, trial.figures)
        rollouts.abort(session, trial, reason, details=_details(figures, trial))
    elif reason == _DISPLACED:
        shadows.stop(session, trial, reason)
    else:
        shadows.fail(session, trial, reason)
    _write(logging.WARNING, trial, "aborted" if isinstance(trial, Rollout) else "ended", reason)


def _evaluated(session: Session, rollout: Rollout) -> bool:
    found = rollouts.evaluation(session, rollout)
    if not found.is_over:
        return False
    if found.verdict in _GOOD:
        rollouts.load(session, rollout, reason=f"The evaluation found: {found.verdict}.")
    elif found.verdict in _BAD or found.verdict is None:
        why = found.error or "it ended without a verdict" if found.verdict is None else found.verdict
        rollouts.abort(session, rollout, f"The evaluation found: {why}.")
    else:
        rollouts.pause(session, rollout, f"The evaluation found: {found.verdict}.")
    _write(logging.INFO, rollout, "evaluated", str(found.verdict))
    return True


def _loaded(session: Session, rollout: Rollout, pools: Pools, too_old: Sequence[str]) -> bool:
    if pools and all(each and each["state"] == HostsState.READY for each in pools.values()):
        rollouts.begin(session, rollout, {"step_start": trial_figures.read(rollout.id, {}).candidate.jobs})
        _write(logging.INFO, rollout, "step 1", f"{rollout.steps[0]:g} %")
        return True
    age_s = _age_s(rollout.step_started_at or rollout.created_at)
    if too_old and age_s > rollout_decisions.UPGRADE_S:
        reason = f"{_named(too_old)} of a release that serves no candidates. Upgrade, then resume the rollout."
        rollouts.pause(session, rollout, reason)
        _write(logging.WARNING, rollout, "paused", reason)
        return True
    if age_s > rollout_decisions.LOAD_S:
        late = [name for name, each in pools.items() if not each or each["state"] != HostsState.READY]
        reason = "The group has no worker." if not pools else f"{_named(late)} without it."
        reason = f"The candidate is not loaded after {rollout_decisions.LOAD_S / 60:g} minutes. {reason}"
        rollouts.abort(session, rollout, reason)
        _write(logging.WARNING, rollout, "aborted", reason)
        return True
    return False


def _named(workers: Sequence[str]) -> str:
    """Return the beginning of a sentence about workers, the first few by name."""
    more = len(workers) - _NAMED_WORKERS
    names = ", ".join(workers[:_NAMED_WORKERS]) + (f" and {more} more" if more > 0 else "")
    return f"Worker {names} is" if len(workers) == 1 else f"Workers {names} are"


def _judged(session: Session, rollout: Rollout) -> bool:
    figures = trial_figures.read(rollout.id, rollout.figures)
    found = rollout_decisions.decide(figures, rollout.rules, progress(rollout, figures))
    if found.action is Action.CONTINUE:
        return False
    details = _details(figures, rollout)
    if found.action is Action.ABORT:
        rollouts.abort(session, rollout, found.reason, details=details)
    elif found.action is Action.PAUSE:
        rollouts.pause(session, rollout, found.reason, details=details)
    elif found.action is Action.PROMOTE:
        rollouts.promote(session, rollout, found.reason, details=details)
    else:
        rollouts.advance(session, rollout, {"step_start": figures.candidate.jobs}, found.reason)
    level = logging.WARNING if found.action in (Action.ABORT, Action.PAUSE) else logging.INFO
    _write(level, rollout, found.action, found.reason)
    # The workers have this to do; a pause is none of their business.
    return found.action is not Action.PAUSE


def progress(rollout: Rollout, figures: Figures) -> Progress:
    """Return where a rollout stands."""
    return Progress(
        is_last_step=rollout.step == len(rollout.steps) - 1,
        is_paused=rollout.state is RolloutState.PAUSED,
        min_jobs=rollout.min_jobs,
        step_s=rollout.step_s,
        step_age_s=_age_s(rollout.step_started_at or rollout.created_at),
        jobs_in_step=figures.candidate.jobs - int(rollout.figures.get("step_start", 0)),
        is_alone=rollout.weight >= 1.0,
    )


def _details(figures: Figures, rollout: Rollout) -> dict[str, Any]:
    return {
        "step": rollout.step + 1,
        "weight": rollout.weight,
        "figures": rollout_decisions.document(figures, rollout.rules),
    }


def _age_s(since: datetime) -> float:
    return (datetime.now(UTC) - since).total_seconds()


def _write(level: int, trial: Rollout | Shadow, what: str, reason: str) -> None:
    fields = {"endpoint": trial.endpoint_name, "version": trial.version, "trial_id": trial.id}
    kind = "rollout" if isinstance(trial, Rollout) else "shadow"
    _log.log(
        level, "%s of version %s on %s: %s (%s)", kind, trial.version, trial.endpoint_name, what, reason, extra=fields
    )
