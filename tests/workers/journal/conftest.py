"""Jobs that end, with the engine's own functions, and a journal in a folder of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from msgspec import UNSET, Raw
from redis.asyncio import Redis

from registry.deployments import DesiredDeployment
from tests.support.service.environment import forget_cached_settings
from tests.workers.conftest import WithRedis
from tests.workers.stand_ins import context, deployment, queued_job
from workers.engine.intake.messages import QueuedJob
from workers.engine.serving import finish
from workers.errors import PredictionFailed
from workers.jobs.records import Outcome, Timing
from workers.queues import arguments

#: 2026-11-27, 12:00 UTC.
NOON = 1_795_780_800.0

End = Callable[..., None]


@pytest.fixture
def journal_dir(data_dir: Path) -> Path:
    """Where the files of the journal come to be."""
    return data_dir / "artifacts" / "journal"


@pytest.fixture
def settings_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sets variables of the environment, until the test has ended."""

    def set_to(**variables: Any) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        forget_cached_settings()

    yield set_to
    monkeypatch.undo()
    forget_cached_settings()


def outcome(job: QueuedJob, desired: DesiredDeployment) -> Outcome:
    """The outcome of a model that returns its input."""
    rows = list(job.rows)
    return Outcome(
        prediction=UNSET if job.many else rows[0],
        predictions=rows if job.many else UNSET,
        endpoint_name=desired.endpoint_name,
        model_name=desired.model_name,
        version=desired.version,
        worker="worker@here",
        batch_size=len(rows),
        timing=Timing(1.5, 2.5, 4.0),
        attempts=1,
    )


@pytest.fixture
def end(store: redis.Redis, with_redis: WithRedis, journal_dir: Path) -> End:
    """Ends jobs in one step, by their ids, at a time; all of them fail with `failed`."""

    def ended(
        ids: Sequence[str],
        *,
        at: float = NOON,
        of: DesiredDeployment | None = None,
        failed: str = "",
        **fields: Any,
    ) -> None:
        desired = of or deployment(journal=1.0)
        jobs = [queued_job(job_id) for job_id in ids]
        for job in jobs:
            job.endpoint_name, job.rows = desired.endpoint_name, [Raw(b"%d.0" % len(job.job_id))]
            job.attempts = 1
            for name, value in fields.items():
                setattr(job, name, arguments.as_json(value) if name == "rows" else value)

        async def run(client: Redis) -> None:
            shared = context(client)
            ends = [
                finish.failed(shared, job, PredictionFailed(failed), at - 1, at)
                if failed
                else finish.succeeded(shared, job, outcome(job, desired), at - 1, at)
                for job in jobs
            ]
            await finish.write(shared, desired, ends)

        with_redis(run)

    return ended
