"""What a rollout does next: a pure function of the figures of both versions, the rules, and the time of the step.

A rule is *broken* if a confidence sequence (see `sequences`) refutes that the candidate keeps to it, so that a look
each second is no reason for a false alarm: a candidate that keeps to all rules is aborted with a probability of at most
`ALPHA` over the whole rollout. A step is passed if no rule is broken, none looks broken (the observed value is within
its limit), and enough jobs have met the candidate, and were answered by both versions if that is a rule. Too few jobs,
or a doubt, pause it after its time; they never pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from registry.serving.rollout_plan import Rules
from workers.judging import sequences
from workers.judging.sequences import Interval
from workers.measures import figures as minutes

#: The probability with which a candidate that keeps to its rules is aborted, over all looks at all rules.
ALPHA = 0.01
_RULES = 3
_ALPHA_OF_RULE = ALPHA / _RULES
#: A step lasts so many times `step_s` at most, if it has too few jobs or leaves a doubt.
PATIENCE = 3.0
#: A difference of predict times up to this is no harm to callers.
LATENCY_SLACK_MS = 5.0
#: Workers have this long to load the candidate.
LOAD_S = 1800.0
#: Workers of a release that serves no candidates have this long to be upgraded.
UPGRADE_S = 60.0
_QUANTILE = 0.95
_LATENCY = "latency_p95"


class Action(StrEnum):
    """What a rollout does next."""

    CONTINUE = "continue"
    STEP = "step"
    PROMOTE = "promote"
    ABORT = "abort"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rollout does next, and why."""

    action: Action
    reason: str


@dataclass(frozen=True, slots=True)
class Arm:
    """The jobs that one of both versions was to answer."""

    jobs: int = 0
    #: Those that it failed: by an error, by time, by a lost host, by an output of another shape. A batch that is lost
    #: as a whole is one job with one failure: which of its jobs is the cause is not known.
    failed: int = 0
    #: Bucket of predict time (`workers.measures.figures`) -> jobs.
    latencies: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figures:
    """What both versions have done since the rollout began."""

    stable: Arm = field(default_factory=Arm)
    candidate: Arm = field(default_factory=Arm)
    #: Hosts of the candidate that died or were killed under a job, or under a copy of one.
    lost_hosts: int = 0
    #: Jobs that both versions have answered, and those of them on which the answers differ.
    pairs: int = 0
    disagreements: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a rollout stands."""

    is_last_step: bool
    is_paused: bool
    min_jobs: int
    step_s: float
    #: How long the step has lasted, and the candidate's jobs since it began.
    step_age_s: float
    jobs_in_step: int
    #: Whether the candidate answers all jobs.
    is_alone: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What the figures say about one rule."""

    rule: str
    limit: float
    #: None: there are no figures yet.
    value: float | None
    is_broken: bool
    text: str

    @property
    def is_doubtful(self) -> bool:
        """Whether it looks broken."""
        return self.value is not None and self.value > self.limit


def decide(figures: Figures, rules: Rules, progress: Progress) -> Decision:
    """Return what a rollout that runs, or is paused, does next."""
    if figures.lost_hosts:
        lost = _count(figures.lost_hosts, "model host")
        return Decision(Action.ABORT, f"The candidate has lost {lost} under a job, or under a copy of one.")
    found = findings(figures, rules)
    if progress.is_alone:
        # Its batches are larger now than those that the stable version had, and take longer.
        found = [each for each in found if each.rule != _LATENCY]
    broken = next((each for each in found if each.is_broken), None)
    if broken is not None:
        return Decision(Action.ABORT, broken.text)
    if progress.is_paused or progress.step_age_s < progress.step_s:
        return Decision(Action.CONTINUE, "")
    return _at_end_of_step(found, progress, _too_few(figures, rules, progress))


def _too_few(figures: Figures, rules: Rules, progress: Progress) -> str | None:
    """Return of what there are too few to pass a step; None if there are enough."""
    if progress.jobs_in_step < progress.min_jobs:
        return f"Only {progress.jobs_in_step:,} of {progress.min_jobs:,} jobs met the candidate in this step."
    if rules.disagreement is not None and figures.pairs < progress.min_jobs:
        # Second answers are shed on hosts that are never idle.
        needed = f"{progress.min_jobs:,}"
        return f"Both versions answered only {figures.pairs:,} jobs, and the rule of disagreement needs {needed}."
    return None


def _at_end_of_step(found: list[Finding], progress: Progress, too_few: str | None) -> Decision:
    doubt = next((each for each in found if each.is_doubtful), None)
    if too_few is None and doubt is None:
        text = f"{progress.jobs_in_step:,} jobs met the candidate in this step, and it kept to all rules."
        return Decision(Action.PROMOTE if progress.is_last_step else Action.STEP, text)
    if progress.step_age_s < progress.step_s * PATIENCE:
        return Decision(Action.CONTINUE, "")
    text = too_few or ""
    if doubt is not None and too_few is None:
        text = f"A rule looks broken, with too few jobs to be sure. {doubt.text}"
    return Decision(Action.PAUSE, f"Inconclusive: {text}")


def findings(figures: Figures, rules: Rules) -> list[Finding]:
    """Return what the figures say about each rule that is on."""
    found = []
    if rules.errors is not None:
        found.append(_errors(figures, rules.errors))
    if rules.latency_p95 is not None:
        found.append(_latency(figures, rules.latency_p95))
    if rules.disagreement is not None:
        found.append(_disagreement(figures, rules.disagreement))
    return found


def intervals(figures: Figures) -> dict[str, Interval]:
    """Return bounds for what the rules of errors and disagreement are about, to show them."""
    stable, candidate = figures.stable, figures.candidate
    return {
        "errors": sequences.difference_interval(
            (stable.failed, stable.jobs), (candidate.failed, candidate.jobs), _ALPHA_OF_RULE
        ),
        "disagreement": sequences.share_interval(figures.disagreements, figures.pairs, _ALPHA_OF_RULE),
    }


def p95_ms(arm: Arm) -> float | None:
    """Return the 95th percentile of an arm's predict times, at most a tenth off; None without jobs."""
    return minutes.quantile_ms(arm.latencies, _QUANTILE)


def document(figures: Figures, rules: Rules) -> dict[str, Any]:
    """Return figures and findings as JSON."""
    bounds = intervals(figures)
    return {
        "stable": _arm_document(figures.stable),
        "candidate": _arm_document(figures.candidate),
        "lost_hosts": figures.lost_hosts,
        "pairs": figures.pairs,
        "disagreements": figures.disagreements,
        "rules": [
            {
                "rule": each.rule,
                "limit": each.limit,
                "value": None if each.value is None else round(each.value, 6),
                "interval": bounds[each.rule].document() if each.rule in bounds else None,
                "state": "broken" if each.is_broken else "doubtful" if each.is_doubtful else "kept",
                "text": each.text,
            }
            for each in findings(figures, rules)
        ],
    }


def _arm_document(arm: Arm) -> dict[str, Any]:
    return {"jobs": arm.jobs, "failed": arm.failed, "predict_p95_ms": p95_ms(arm)}


def _errors(figures: Figures, limit: float) -> Finding:
    stable, candidate = figures.stable, figures.candidate
    text = (
        f"{candidate.failed:,} of {candidate.jobs:,} jobs failed on the candidate, {stable.failed:,} of "
        f"{stable.jobs:,} on the stable version; the rule allows {_percent(limit)} more."
    )
    if not candidate.jobs:
        return Finding("errors", limit, None, is_broken=False, text=text)
    value = candidate.failed / candidate.jobs - (stable.failed / stable.jobs if stable.jobs else 0.0)
    is_broken = False
    if value > limit:
        alpha = _ALPHA_OF_RULE / 2
        # Without a job of the stable version, an error may be the job's own.
        allowed = sequences.share_interval(stable.failed, stable.jobs, alpha).high + limit
        is_broken = sequences.share_above(candidate.failed, candidate.jobs, allowed, alpha)
    return Finding("errors", limit, value, is_broken=is_broken, text=text)


def _latency(figures: Figures, limit: float) -> Finding:
    observed, allowed_ms = p95_ms(figures.candidate), p95_ms(figures.stable)
    text = (
        f"The 95th percentile of predict time is {_ms(observed)} on the candidate and {_ms(allowed_ms)} on the stable "
        f"version; the rule allows {limit:g} times as long."
    )
    if observed is None or allowed_ms is None:
        return Finding("latency_p95", limit, None, is_broken=False, text=text)
    value = observed / allowed_ms if observed > allowed_ms + LATENCY_SLACK_MS else min(observed / allowed_ms, limit)
    is_broken = value > limit and _is_slower(figures, limit)
    return Finding("latency_p95", limit, value, is_broken=is_broken, text=text)


def _is_slower(figures: Figures, limit: float) -> bool:
    alpha = _ALPHA_OF_RULE / 2
    low, _ = sequences.quantile_interval(figures.candidate.latencies, _QUANTILE, alpha)
    _, high = sequences.quantile_interval(figures.stable.latencies, _QUANTILE, alpha)
    if low is None or high is None:
        return False
    least_ms, most_ms = minutes.bounds_ms(low)[0], minutes.bounds_ms(high)[1]
    return least_ms > max(limit * most_ms, most_ms + LATENCY_SLACK_MS)


def _disagreement(figures: Figures, limit: float) -> Finding:
    text = (
        f"Both versions answered {figures.pairs:,} jobs, {figures.disagreements:,} of them differently; the rule "
        f"allows {_percent(limit)}."
    )
    if not figures.pairs:
        return Finding("disagreement", limit, None, is_broken=False, text=text)
    is_broken = sequences.share_above(figures.disagreements, figures.pairs, limit, _ALPHA_OF_RULE)
    return Finding("disagreement", limit, figures.disagreements / figures.pairs, is_broken=is_broken, text=text)


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g} ms"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
