"""A registry with versions of a model, and stand-ins for workers: their reports, counters and pairs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import update
from sqlalchemy.orm import Session

from registry import deployments
from registry.database import Database
from registry.database.tables import RolloutRow
from registry.deployments import DesiredDeployment
from registry.judging import rollouts
from registry.judging.rollouts import Rollout
from registry.serving.rollout_plan import Plan, Rules
from tests.workers.stand_ins import version_report
from workers import keys
from workers.measures import figures as minutes
from workers.measures.reports import HostsState

#: The stand-ins count jobs; pairs are for tests of their own.
QUICK = Plan(steps=[10, 100], min_jobs=50, step_s=60, rules=Rules(disagreement=None))


class Workers:
    """What workers would report and count."""

    def __init__(self, store: redis.Redis, database: Database) -> None:
        self.store = store
        self.database = database

    def report(self, state: HostsState = HostsState.READY, error: str | None = None, worker: str = "w1") -> None:
        """Write the report of a worker that serves version 1 and has a candidate in this state."""
        candidate = {**version_report(state), "version": "2", "error": error, "arm": "candidate"}
        self._write(worker, [candidate, version_report(HostsState.READY)], release="9")

    def report_of_earlier_release(self, worker: str) -> None:
        """Write the report of a worker that serves version 1 and knows no candidates."""
        self._write(worker, [version_report(HostsState.READY)])

    def _write(self, worker: str, versions: Sequence[Mapping[str, Any]], **more: Any) -> None:
        endpoint = {"versions": versions, "waiting": 0, "running": 0, "pace": None}
        facts = {"worker": worker, "worker_group": "default", "pid": 1, "started_at": 0, **more}
        report = {**facts, "endpoints": {"e": endpoint}}
        self.store.zadd(keys.WORKERS, {worker: time.time()})
        self.store.hset(keys.REPORTS, worker, json.dumps(report))

    def count(self, trial_id: str, **counts: int) -> None:
        """Count jobs; `candidate__errors` is the field `candidate.errors`."""
        for name, number in counts.items():
            self.store.hincrby(keys.arms(trial_id), name.replace("__", "."), number)

    def answer(self, trial_id: str, stable: int, candidate: int, *, errors: int = 0, ms: float = 10.0) -> None:
        """Count so many good jobs of both versions, and errors of the candidate that the stable version mended."""
        bucket = minutes.bucket(ms)
        self.count(
            trial_id,
            stable__succeeded=stable,
            candidate__succeeded=candidate,
            candidate__errors=errors,
            candidate__fell_back=errors,
            **{f"stable__ms__{minutes.bucket(10.0)}": stable, f"candidate__ms__{bucket}": candidate},
        )

    def pair(self, trial_id: str, job_id: str, stable: Any = "cat", candidate: Any = "cat") -> str:
        """Write the answers of both versions to a job; return the id of the pair."""
        answers = {
            # Workers leave out what is None.
            arm: {"version": version} | ({} if answer is None else {"predictions": [answer]})
            for arm, version, answer in (("stable", "1", stable), ("candidate", "2", candidate))
        }
        pair = {"job_id": job_id, "inputs": [[1.0]], **answers}
        entry: dict[Any, Any] = {"trial_id": trial_id, "endpoint_name": "e", "pair": json.dumps(pair)}
        return str(self.store.xadd(keys.PAIRS, entry))


@pytest.fixture
def workers(store: redis.Redis, database: Database) -> Workers:
    return Workers(store, database)


def begin(database: Database, plan: Plan = QUICK, evaluation_id: str | None = None) -> Rollout:
    """A rollout of version 2."""
    with database.session() as session:
        rollout = rollouts.create(session, "e", "2", plan, evaluation_id=evaluation_id)
        session.commit()
    return rollout


def look(database: Database, read: Callable[[Session], Any]) -> Any:
    """Read something of the registry."""
    with database.session() as session:
        return read(session)


def rollout_of(database: Database) -> Rollout:
    found: Rollout = look(database, lambda session: rollouts.latest(session, "e"))
    return found


def deployed(database: Database) -> DesiredDeployment:
    found: DesiredDeployment = look(database, lambda session: deployments.find(session, "e"))
    return found


def pass_time(database: Database, seconds: float = QUICK.step_s + 1) -> None:
    """Let the present step have begun earlier."""
    with database.session() as session:
        began = datetime.now(UTC) - timedelta(seconds=seconds)
        session.execute(update(RolloutRow).values(step_started_at=began))
        session.commit()
