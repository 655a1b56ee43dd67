"""Trials of other versions: evaluations, rollouts and shadows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from api.client.documents import (
    Evaluation,
    Rollout,
    Shadow,
)
from api.client.flows.judging import evaluations, trials
from api.client.flows.judging.evaluations import EVALUATE_TIMEOUT_S, Dataset
from api.client.flows.judging.journal import Moment, moment_text
from api.client.sync.base import BlockingCalls


class TrialCalls(BlockingCalls):
    """Trials of other versions: evaluations, rollouts and shadows."""

    def evaluate(
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
        """Replay jobs of an endpoint on another version of its model, and return the evaluation with its report.

        The jobs are those that the journal keeps `since` (a time ago, in ISO 8601, or a datetime; 24h by default), or
        those of a `dataset`: `[{"input": …, "truth": …}, …]`. Numbers agree within `tolerance` (0.001) of the larger,
        probabilities within `probability_tolerance` (0.05) if the same class wins. With `wait=False` return at once.
        `on_progress` is called with the evaluation now and then.

        Raises:
            NotFound: there is no such endpoint or version.
            Conflict: the endpoint serves this version, or the journal has no jobs.
            WaitTimedOut: it has not ended in `timeout_s`, and goes on.
        """
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
        return self._driver.run(flow)

    def evaluations(self, endpoint_name: str | None = None) -> list[Evaluation]:
        """Return the newest evaluations, newest first, without their reports."""
        return self._driver.run(evaluations.evaluations(endpoint_name, self._ends_at()))

    def evaluation(self, evaluation_id: str) -> Evaluation:
        """Return an evaluation, with its report once it has succeeded. Raises NotFound."""
        return self._driver.run(evaluations.show(evaluation_id, self._ends_at()))

    def remove_evaluation(self, evaluation_id: str) -> None:
        """Cancel an evaluation that has not ended, or delete one that has.

        Raises NotFound; Conflict while its hosts and queues are being removed.
        """
        self._driver.run(evaluations.remove(evaluation_id, self._ends_at()))

    def start_rollout(
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
        """Let another version answer a growing share of an endpoint's jobs, until it is promoted or aborted.

        Args:
            endpoint_name: the endpoint.
            version: the candidate, of the same model.
            steps: the candidate's share of jobs in each step (percent); default: 1, 10, 50, 100.
            min_jobs: jobs that must have met it in a step before the next one; default: 200.
            step_s: how long a step lasts; default: 600.
            rules: `errors`, `latency_p95`, `disagreement`; None switches one off.
            on_failure: `stable` (default): what fails on the candidate runs again on the stable version; `fail`.
            evaluate: replay jobs of the journal on it first; the rollout waits for the verdict.
            since: with `evaluate`, the jobs that ended since; default: 24h.

        Raises:
            NotFound: there is no such endpoint or version.
            Conflict: the endpoint isn't served, serves this version, or has a shadow or a rollout.
        """
        wanted: dict[str, Any] = {"version": version, "steps": None if steps is None else list(steps), "rules": rules}
        wanted |= {"min_jobs": min_jobs, "step_s": step_s, "on_failure": on_failure}
        wanted |= {"start": "evaluation" if evaluate else None}
        wanted |= {"since": None if since is None else moment_text(since)}
        return self._driver.run(trials.start_rollout(endpoint_name, wanted, self._ends_at()))

    def rollout(self, endpoint_name: str) -> Rollout:
        """Return the active or else the latest rollout of an endpoint. Raises NotFound."""
        return self._driver.run(trials.rollout(endpoint_name, self._ends_at()))

    def pause_rollout(self, endpoint_name: str, *, reason: str | None = None) -> Rollout:
        """Pause a rollout: the candidate keeps its share of jobs. Raises NotFound, Conflict."""
        return self._driver.run(trials.steer(endpoint_name, "pause", reason, self._ends_at()))

    def resume_rollout(self, endpoint_name: str) -> Rollout:
        """Resume a paused rollout. Raises NotFound, Conflict."""
        return self._driver.run(trials.steer(endpoint_name, "resume", None, self._ends_at()))

    def promote_rollout(self, endpoint_name: str, *, reason: str | None = None) -> Rollout:
        """Let the endpoint serve the candidate alone. Raises NotFound, Conflict."""
        return self._driver.run(trials.steer(endpoint_name, "promote", reason, self._ends_at()))

    def abort_rollout(self, endpoint_name: str, *, reason: str | None = None) -> Rollout:
        """Let the stable version answer all jobs again. Raises NotFound, Conflict."""
        return self._driver.run(trials.steer(endpoint_name, "abort", reason, self._ends_at()))

    def start_shadow(self, endpoint_name: str, version: str, *, share: float = 1.0) -> Shadow:
        """Let another version predict a share of jobs after their ends. Raises NotFound, Conflict."""
        return self._driver.run(trials.start_shadow(endpoint_name, version, share, self._ends_at()))

    def shadow(self, endpoint_name: str) -> Shadow:
        """Return the running or else the latest shadow of an endpoint, with its report. Raises NotFound."""
        return self._driver.run(trials.shadow(endpoint_name, self._ends_at()))

    def stop_shadow(self, endpoint_name: str) -> Shadow:
        """Stop the shadow of an endpoint; its report stays. Raises NotFound."""
        return self._driver.run(trials.stop_shadow(endpoint_name, self._ends_at()))
