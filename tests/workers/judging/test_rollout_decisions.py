"""What a rollout does next: by rule, and over whole simulated rollouts with the code that decides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from registry.serving.rollout_plan import DEFAULT_STEPS, Rules
from workers.judging import rollout_decisions
from workers.judging.rollout_decisions import PATIENCE, Action, Arm, Figures, Progress
from workers.measures import figures as minutes

FAST, SLOW = minutes.bucket(10.0), minutes.bucket(100.0)
GOOD = Figures(Arm(10_000, 20, {FAST: 10_000}), Arm(300, 1, {FAST: 300}), 0, 300, 3)
OVER = Progress(is_last_step=False, is_paused=False, min_jobs=200, step_s=60, step_age_s=60, jobs_in_step=300)
YOUNG = replace(OVER, step_age_s=10)
LONG = replace(OVER, step_age_s=60 * PATIENCE)


def of_candidate(**changes: Any) -> Figures:
    return replace(GOOD, candidate=replace(GOOD.candidate, **changes))


DECISIONS: dict[str, tuple[Figures, Progress, Action, str]] = {
    "all is well, and the step is over": (GOOD, OVER, Action.STEP, "300 jobs met the candidate"),
    "the last step": (GOOD, replace(OVER, is_last_step=True), Action.PROMOTE, "kept to all rules"),
    "the step goes on": (GOOD, YOUNG, Action.CONTINUE, ""),
    "paused": (GOOD, replace(LONG, is_paused=True), Action.CONTINUE, ""),
    "too few jobs yet": (GOOD, replace(OVER, jobs_in_step=199), Action.CONTINUE, ""),
    "too few jobs": (GOOD, replace(LONG, jobs_in_step=199), Action.PAUSE, "Inconclusive: Only 199 of 200"),
    "jobs that one version alone answered": (
        replace(GOOD, pairs=0, disagreements=0), LONG, Action.PAUSE, "Inconclusive: Both versions answered only 0 jobs",
    ),
    "no job at all": (Figures(), replace(LONG, jobs_in_step=0), Action.PAUSE, "Inconclusive: Only 0 of 200"),
    "a lost host, at once": (replace(GOOD, lost_hosts=1), YOUNG, Action.ABORT, "lost 1 model host"),
    "a lost host, while it is paused": (
        replace(GOOD, lost_hosts=2), replace(YOUNG, is_paused=True), Action.ABORT, "lost 2 model hosts",
    ),
    "many errors": (of_candidate(failed=30), YOUNG, Action.ABORT, "30 of 300 jobs failed on the candidate"),
    "a few errors more": (of_candidate(failed=6), LONG, Action.PAUSE, "A rule looks broken"),
    "a few errors more, so far": (of_candidate(failed=6), OVER, Action.CONTINUE, ""),
    "errors of bad inputs, on both": (
        replace(of_candidate(failed=30), stable=replace(GOOD.stable, failed=1_000)), OVER, Action.STEP, "",
    ),
    "ten times as slow": (of_candidate(latencies={SLOW: 300}), YOUNG, Action.ABORT, "95th percentile"),
    "one slow job": (of_candidate(latencies={FAST: 299, SLOW: 1}), OVER, Action.STEP, ""),
    "many disagreements": (replace(GOOD, disagreements=60), YOUNG, Action.ABORT, "60 of them differently"),
    "some disagreements more": (replace(GOOD, disagreements=17), LONG, Action.PAUSE, "allows 5 %"),
}  # fmt: skip


@pytest.mark.parametrize("case", DECISIONS)
def test_what_a_rollout_does_next(case: str) -> None:
    figures, progress, action, reason = DECISIONS[case]
    found = rollout_decisions.decide(figures, Rules(), progress)
    assert found.action is action
    assert reason in found.reason


def test_a_rule_that_is_off_breaks_nothing() -> None:
    figures = replace(of_candidate(failed=200, latencies={SLOW: 300}), disagreements=300)
    off = Rules(errors=None, latency_p95=None, disagreement=None)
    assert rollout_decisions.decide(figures, off, OVER).action is Action.STEP


def test_differences_of_few_milliseconds_are_no_harm() -> None:
    quick, slower = minutes.bucket(0.4), minutes.bucket(4.0)
    figures = replace(of_candidate(latencies={slower: 300}), stable=replace(GOOD.stable, latencies={quick: 10_000}))
    assert rollout_decisions.decide(figures, Rules(), OVER).action is Action.STEP


def test_times_are_not_compared_once_the_candidate_answers_all_jobs() -> None:
    figures = of_candidate(latencies={SLOW: 300})
    assert rollout_decisions.decide(figures, Rules(), OVER).action is Action.ABORT
    assert rollout_decisions.decide(figures, Rules(), replace(OVER, is_alone=True)).action is Action.STEP


def test_figures_are_shown_with_what_they_say_about_each_rule() -> None:
    found = rollout_decisions.document(replace(GOOD, disagreements=60), Rules(latency_p95=None))
    assert [(each["rule"], each["state"]) for each in found["rules"]] == [
        ("errors", "kept"),
        ("disagreement", "broken"),
    ]
    assert found["rules"][1]["interval"][0] > 0.05
    assert found["candidate"] == {"jobs": 300, "failed": 1, "predict_p95_ms": pytest.approx(10, rel=0.11)}


#: A simulated step that is paused is looked at for so many times its length.
PAUSED_FOR = 6


@dataclass
class Outcome:
    action: Action
    #: The candidate's share of all jobs so far.
    met: float
    seconds: int


def simulated(
    seed: int, *, flips: float = 0.0, raises: float = 0.0, slow: float = 1.0, rate: int = 500, step_s: int = 60
) -> Outcome:
    """A rollout that is looked at each second, on an endpoint whose inputs fail in 0.5 % of jobs on any version."""
    generator = np.random.default_rng(seed)
    ms = [8.0, 10.0, 12.0, 15.0, 20.0, 30.0]
    chances = [0.2, 0.3, 0.25, 0.15, 0.08, 0.02]
    counts = {"stable": [0, 0], "candidate": [0, 0]}
    times: dict[str, dict[int, int]] = {"stable": {}, "candidate": {}}
    pairs = differing = step = 0
    began, before, is_paused = 0, 0, False
    for second in range(1, 100_000):
        jobs = int(generator.poisson(rate))
        met = int(generator.binomial(jobs, DEFAULT_STEPS[step] / 100))
        for arm, number, share, factor in (("stable", jobs - met, 0.0, 1.0), ("candidate", met, raises, slow)):
            counts[arm][0] += number
            counts[arm][1] += int(generator.binomial(number, 0.005 + share))
            for each, many in zip(ms, generator.multinomial(number, chances).tolist(), strict=True):
                bucket = minutes.bucket(each * factor)
                times[arm][bucket] = times[arm].get(bucket, 0) + many
        pairs += met
        differing += int(generator.binomial(met, flips))
        candidate = counts["candidate"]
        arms = {arm: Arm(counts[arm][0], counts[arm][1], times[arm]) for arm in counts}
        figures = Figures(arms["stable"], arms["candidate"], 0, pairs, differing)
        progress = Progress(
            is_last_step=step == len(DEFAULT_STEPS) - 1,
            is_paused=is_paused,
            min_jobs=200,
            step_s=step_s,
            step_age_s=second - began,
            jobs_in_step=candidate[0] - before,
        )
        found = rollout_decisions.decide(figures, Rules(), progress)
        if found.action is Action.STEP:
            step, began, before = step + 1, second, candidate[0]
        elif found.action is Action.PAUSE:
            is_paused = True
        if found.action in (Action.ABORT, Action.PROMOTE) or second - began > PAUSED_FOR * step_s:
            action = Action.PAUSE if is_paused and found.action is Action.CONTINUE else found.action
            return Outcome(action, candidate[0] / (candidate[0] + counts["stable"][0]), second)
    raise AssertionError("it never ends")


SEEDS = range(200)


def actions(outcomes: list[Outcome]) -> dict[str, int]:
    return {str(each): sum(one.action is each for one in outcomes) for each in Action}


def test_a_candidate_that_does_not_differ_is_promoted_and_aborted_in_one_of_a_hundred_runs_at_most() -> None:
    found = [simulated(seed) for seed in SEEDS]
    assert sum(each.action is Action.ABORT for each in found) <= 0.01 * len(SEEDS), actions(found)
    assert sum(each.action is Action.PROMOTE for each in found) >= 0.95 * len(SEEDS), actions(found)


@pytest.mark.parametrize("fault", [{"flips": 0.1}, {"raises": 0.1}, {"slow": 10.0}, {"raises": 0.05}])
def test_a_bad_candidate_is_aborted_before_a_twentieth_of_all_jobs_has_met_it(fault: dict[str, Any]) -> None:
    found = [simulated(seed, **fault) for seed in SEEDS]
    assert actions(found) == actions([]) | {"abort": len(SEEDS)}
    assert max(each.met for each in found) < 0.05


@pytest.mark.parametrize("fault", [{"flips": 0.07}, {"raises": 0.03}])
def test_a_candidate_just_beyond_a_rule_is_hardly_ever_promoted(fault: dict[str, Any]) -> None:
    found = [simulated(seed, **fault) for seed in SEEDS[:60]]
    assert not any(each.action is Action.PROMOTE for each in found), actions(found)
