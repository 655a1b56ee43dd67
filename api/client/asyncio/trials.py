"""Trials of other versions: evaluations, rollouts and shadows, awaited."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from api.client.asyncio.base import AwaitedCalls
from api.client.documents import (
    Evaluation,
    Rollout,
    Shadow,
)
from api.client.flows.judging import evaluations, trials
from api.client.flows.judging.evaluations import EVALUATE_TIMEOUT_S, Dataset
from api.client.flows.judging.journal import Moment, moment_text


class TrialCalls(AwaitedCalls):
    """Trials of other versions: evaluations, rollouts and shadows, awaited."""

    async def evaluate(
        self,
        endpoint_name: str,
        version: str,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        dataset: Dataset | None = None,
        max_jobs: int | None = None,
        control: float | None = None,
        tolerance: float | None = None,
        probability_tolerance: float | None = None,
        margin: float | None = None,
        wait: bool = True,
        timeout_s: float = EVALUATE_TIMEOUT_S,
        on_progress: Callable[[Evaluation], object] | None = None,
    ) -> Evaluation:
        """As `Client.evaluate`."""
        wanted = {
            "endpoint_name": endpoint_name,
            "version": version,
            "since": None if since is None else moment_text(since),
            "until": None if until is None else moment_text(until),
            "dataset": dataset,
            "max_jobs": max_jobs,
            "control": control,
            "tolerance": tolerance,
            "probability_tolerance": probability_tolerance,
            "margin": margin,
        }
        flow = evaluations.evaluate(wanted, timeout_s, wait=wait, on_progress=on_progress)
        return await self._driver.run(flow)

    async def evaluations(self, endpoint_name: str | None = None) -> list[Evaluation]:
        """As `Client.evaluations`."""
        return await self._driver.run(evaluations.evaluations(endpoint_name, self._ends_at()))

    async def evaluation(self, evaluation_id: str) -> Evaluation:
        """As `Client.evaluation`."""
        return await self._driver.run(evaluations.show(evaluation_id, self._ends_at()))

    async def remove_evaluation(self, evaluation_id: str) -> None:
        """As `Client.remove_evaluation`."""
        await self._driver.run(evaluations.remove(evaluation_id, self._ends_at()))

    async def start_rollout(
        self,
        endpoint_name: str,
        version: str,
        *,
        steps: Sequence[float] | None = None,
        min_jobs: int | None = None,
        step_s: float | None = None,
        rules: Mapping[str, float | None] | None = None,
        on_failure: str | None = None,
        evaluate: bool = False,
        since: Moment | None = None,
    ) -> Rollout:
        """As `Client.start_rollout`."""
        wanted: dict[str, Any] = {"version": version, "steps": None if steps is None else list(steps), "rules": rules}
        wanted |= {"min_jobs": min_jobs, "step_s": step_s, "on_failure": on_failure}
        wanted |= {"start": "evaluation" if evaluate else None}
        wanted |= {"since": None if since is None else moment_text(since)}
        return await self._driver.run(trials.start_rollout(endpoint_name, wanted, self._ends_at()))

    async def rollout(self, endpoint_name: str) -> Rollout:
        """As `Client.rollout`."""
        return await self._driver.run(trials.rollout(endpoint_name, self._ends_at()))

    async def pause_rollout(self, endpoint_name: str, *, reason: str | None = None) -> Rollout:
        """As `Client.pause_rollout`."""
        return await self._driver.run(trials.steer(endpoint_name, "pause", reason, self._ends_at()))

    async def resume_rollout(self, endpoint_name: str) -> Rollout:
        """As `Client.resume_rollout`."""
        return await self._driver.run(trials.steer(endpoint_name, "resume", None, self._ends_at()))

    async def promote_rollout(self, endpoint_name: str, *, reason: str | None = None) -> Rollout:
        """As `Client.promote_rollout`."""
        return await self._driver.run(trials.steer(endpoint_name, "promote", reason, self._ends_at()))

    async def abort_rollout(self, endpoint_name: str, *, reason: str | None = None) -> Rollout:
        """As `Client.abort_rollout`."""
        return await self._driver.run(trials.steer(endpoint_name, "abort", reason, self._ends_at()))

    async def start_shadow(self, endpoint_name: str, version: str, *, share: float = 1.0) -> Shadow:
        """As `Client.start_shadow`."""
        return await self._driver.run(trials.start_shadow(endpoint_name, version, share, self._ends_at()))

    async def shadow(self, endpoint_name: str) -> Shadow:
        """As `Client.shadow`."""
        return await self._driver.run(trials.shadow(endpoint_name, self._ends_at()))

    async def stop_shadow(self, endpoint_name: str) -> Shadow:
        """As `Client.stop_shadow`."""
        return await self._driver.run(trials.stop_shadow(endpoint_name, self._ends_at()))
