"""Trials of candidates, placed into the registry directly: each job has one right outcome whatever they do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from registry.database import Database
from registry.database.tables import CandidateRow, DeploymentRow
from tests.support.models import Echo, Faulty
from tests.support.service.stack import Stack
from tests.support.waiting import eventually
from workers import keys
from workers.measures import arms
from workers.measures.arms import TrialFigures

#: What the candidates do to one of 20 rows, and what is counted of it.
FAULTS = {"raise": arms.ERRORS, "kill": arms.LOST_HOSTS, "shape": arms.WRONG_SHAPE, "slow": ""}
#: Enough that the candidate surely gets some of the rows at which it fails: half of 15.
JOBS = 300
#: By which the candidates that are placed here are dealt jobs.
SALT = "salt"
#: No rollout of a test needs more.
MOST_JOBS = 10_000
#: The echoes of two versions differ on purpose, and a busy machine is no reason to abort.
RULES = {"disagreement": None, "latency_p95": None}


def start(stack: Stack, name: str, fault: str, *, weight: float = 0.5, shadow_share: float = 0.0) -> str:
    """Deploy an echo, and place a candidate beside it, which is loaded; return the id of the trial."""
    stack.register(name, Echo("1"))
    stack.register(name, Faulty("2", fault))
    stack.deploy(name, version="1", endpoint_name=name)
    return place(stack, name, weight=weight, shadow_share=shadow_share)


def place(stack: Stack, name: str, *, weight: float, shadow_share: float) -> str:
    """Place version 2 beside the deployed one, and wait until it is loaded; return the id of the trial."""
    trial_id = f"trial-{name}"
    with _registry(stack) as session:
        session.add(
            CandidateRow(
                endpoint_name=name,
                trial_id=trial_id,
                model_name=name,
                version="2",
                weight=weight,
                shadow_share=shadow_share,
                salt=SALT,
                on_failure="stable",
                changed_at=datetime.now(UTC),
            )
        )
        _revise(session, name)
    _nudge(stack)
    eventually(lambda: "2" in {each["version"] for each in stack.view(name)["workers"] if each["state"] == "ready"}, 30)
    return trial_id


def set_weight(stack: Stack, name: str, weight: float) -> None:
    """Change the weight of the candidate, and wait until the worker has it."""
    with _registry(stack) as session:
        session.execute(update(CandidateRow).where(CandidateRow.endpoint_name == name).values(weight=weight))
        _revise(session, name)
    _nudge(stack)

    def has_it() -> bool:
        view = stack.view(name)
        return {each["revision"] for each in view["workers"] if each["state"] == "ready"} == {view["revision"]}

    eventually(has_it, 30)


def figures(stack: Stack, trial_id: str) -> TrialFigures:
    """The counts of a trial."""
    with redis.Redis.from_url(stack.redis.url) as client:
        found = client.hgetall(keys.arms(trial_id))
    return arms.parse((name.decode(), int(value)) for name, value in found.items())


def check_every_job_has_its_one_right_outcome(stack: Stack, name: str, fault: str) -> None:
    """Submit jobs to a stable version with a candidate that fails; no caller sees it."""
    trial_id = start(stack, name, fault)
    job_ids = stack.submit_all(name, [f"row {number}" for number in range(JOBS)])
    outcomes = stack.outcomes(job_ids)
    for number, outcome in enumerate(outcomes):
        assert outcome["prediction"] == [outcome["version"], f"row {number}"]
    assert {outcome["version"] for outcome in outcomes} == {"1", "2"}

    def counted() -> TrialFigures:
        found = figures(stack, trial_id)
        assert found.stable.succeeded + found.candidate.succeeded == JOBS
        return found

    found = eventually(counted, 10)
    assert found is not None
    assert found.stable.failed + found.candidate.failed == 0
    if FAULTS[fault]:
        assert found.candidate.counts[FAULTS[fault]] > 0
        assert found.candidate.fell_back >= found.candidate.failures


@dataclass(frozen=True)
class BadCandidate:
    """A candidate that a rollout aborts by itself."""

    model: Echo
    #: What the reason says.
    reason: str
    rules: Mapping[str, float | None] = field(default_factory=lambda: RULES)
    #: Of the deployment.
    settings: Mapping[str, Any] = field(default_factory=dict)


BAD_CANDIDATES = {
    "raises at one of 20 inputs": BadCandidate(Faulty("2", "raise"), "jobs failed on the candidate"),
    "kills its host": BadCandidate(Faulty("2", "kill"), "The candidate has lost"),
    "takes ten times as long": BadCandidate(
        Echo("2", seconds=0.02), "95th percentile of predict time", {"disagreement": None}
    ),
    "exceeds its time limit at one of four inputs": BadCandidate(
        Faulty("2", "stall", one_of=4), "jobs failed on the candidate", settings={"timeout_s": 2.0}
    ),
}


def check_a_bad_candidate_is_aborted(stack: Stack, name: str, bad: BadCandidate) -> None:
    """Roll it out: no caller sees what it does, and the version before serves at the end."""
    found = rolled_out(stack, name, bad.model, [50, 100], 60.0, bad.rules, bad.settings)
    assert found["state"] == "aborted", found
    assert bad.reason in found["reason"]
    assert stack.view(name)["version"] == "1"


def check_a_good_candidate_is_promoted(stack: Stack, name: str) -> None:
    """Roll it out: it serves at the end."""
    found = rolled_out(stack, name, Echo("2"), [50, 100], 1.0)
    assert found["state"] == "promoted", found
    assert stack.view(name)["version"] == "2"
    assert stack.predict(name, "row")["prediction"] == ["2", "row"]


def rolled_out(
    stack: Stack,
    name: str,
    candidate: Echo,
    steps: list[float],
    step_s: float,
    rules: Mapping[str, float | None] = RULES,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Roll a candidate out, and submit jobs until it is over; each has the right outcome of one version."""
    stack.register(name, Echo("1", seconds=0.002))
    stack.register(name, candidate)
    stack.deploy(name, version="1", endpoint_name=name, **(settings or {}))
    path = f"/deployments/{name}/rollout"
    plan = {"version": "2", "steps": steps, "min_jobs": 20, "step_s": step_s, "rules": rules}
    assert stack.api.post(path, json=plan).status_code == 202
    found: dict[str, Any] = {}
    for start in range(0, MOST_JOBS, 20):
        rows = [f"row {number}" for number in range(start, start + 20)]
        outcomes = stack.outcomes(stack.submit_all(name, rows))
        assert [each["prediction"] for each in outcomes] == [
            [each["version"], row] for each, row in zip(outcomes, rows, strict=True)
        ]
        found = stack.api.get(path).json()
        if found["state"] in ("promoted", "aborted", "paused"):
            break
    return found


def remove(stack: Stack, name: str) -> None:
    """Remove the candidate."""
    with _registry(stack) as session:
        session.execute(delete(CandidateRow).where(CandidateRow.endpoint_name == name))
        _revise(session, name)
    _nudge(stack)


@contextmanager
def _registry(stack: Stack) -> Iterator[Session]:
    path = Path(stack.env["QUEUECAST_DATA_DIR"]) / "registry.db"
    database = Database(stack.env.get("DATABASE_URL") or f"sqlite:///{path}")
    try:
        with database.session() as session:
            yield session
            session.commit()
    finally:
        database.close()


def _revise(session: Session, name: str) -> None:
    changed = update(DeploymentRow).where(DeploymentRow.endpoint_name == name)
    session.execute(changed.values(revision=DeploymentRow.revision + 1))


def _nudge(stack: Stack) -> None:
    with redis.Redis.from_url(stack.redis.url) as client:
        client.publish(keys.NUDGE_CHANNEL, "changed")
