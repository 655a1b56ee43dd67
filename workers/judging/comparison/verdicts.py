"""Decides what a comparison comes to, and says why in words.

The rules, in this order:

1. No row was compared: `inconclusive`.
2. More jobs fail on the candidate than on the stable version (McNemar's test, p < 0.05): `worse`.
3. Truths show that one version is right more often, or closer, by more than the margin allows: `better` or `worse`.
   The 95 % interval excludes 0 and isn't within the margin; for labels McNemar's test agrees (p < 0.05).
4. More than the margin of the rows differ, and they are above the noise floor: `differs`.
5. Fewer jobs fail on the candidate (as in 2), and the rest of the answers doesn't differ: `better`.
6. At most the margin of the rows differ beyond the noise floor, with the whole interval: `same`.
7. Otherwise `inconclusive`.
"""

from __future__ import annotations

from collections.abc import Iterator

from workers.judging.comparison.document import Agreement, Errors, Estimate, Noise, PredictTimes, Truths, Verdict

_SIGNIFICANT = 0.05
_MIN_TRUTH_JOBS = 10
#: Ratios of predict times beyond which a note says so.
_FASTER, _SLOWER = 0.8, 1.25

Decision = tuple[Verdict, str]


def decide(agreement: Agreement, noise: Noise | None, errors: Errors, truths: Truths | None, margin: float) -> Decision:
    """Return the verdict and its reason."""
    if not agreement.rows:
        return Verdict.INCONCLUSIVE, "No row was compared."
    failing, graded = _of_errors(errors), _of_truths(truths, margin)
    if failing is not None:
        worse_too = graded is not None and graded[0] is Verdict.WORSE
        return failing[0], f"{failing[1]} {graded[1]}" if worse_too and graded else failing[1]
    return graded or _with_gone_errors(_of_answers(agreement, noise, margin), errors)


def notes(reason: str, errors: Errors, truths: Truths | None, noise: Noise | None, times: PredictTimes) -> list[str]:
    """Return what else to know besides the reason, in words."""
    found = [*_notes(errors, truths, noise), *_times_note(times)]
    return [each for each in found if not reason.startswith(each.removesuffix("."))]


def percent(share: float) -> str:
    """Return a share in percent, with two digits below 1 %."""
    value = 100 * share
    return f"{value:.2f} %" if 0 < abs(value) < 1 else f"{value:.1f} %"


def _of_errors(errors: Errors) -> Decision | None:
    if errors.new_jobs <= errors.gone_jobs or errors.p_value >= _SIGNIFICANT:
        return None
    return Verdict.WORSE, (
        f"{_jobs(errors.new_jobs)} on the candidate only, and {errors.gone_jobs} on the stable version only "
        f"(p = {errors.p_value:.2g})."
    )


def _of_truths(truths: Truths | None, margin: float) -> Decision | None:
    if truths is None or truths.jobs < _MIN_TRUTH_JOBS:
        return None
    found = [each for each in (_of_labels(truths, margin), _of_numbers(truths, margin)) if each is not None]
    if len({verdict for verdict, _ in found}) > 1:
        return Verdict.DIFFERS, " ".join(reason for _, reason in found)
    return found[0] if found else None


def _of_labels(truths: Truths, margin: float) -> Decision | None:
    labels = truths.labels
    if labels is None or not _is_clear(labels.difference, margin):
        return None
    if not truths.weighted and labels.p_value >= _SIGNIFICANT:
        return None
    better = labels.difference.estimate > 0
    return Verdict.BETTER if better else Verdict.WORSE, (
        f"The candidate is right in {percent(labels.candidate_share)} of {labels.rows} rows with a truth, the stable "
        f"version in {percent(labels.stable_share)}: {_between(labels.difference)}."
    )


def _of_numbers(truths: Truths, margin: float) -> Decision | None:
    numbers = truths.numbers
    if numbers is None or numbers.difference is None or not _is_clear(numbers.difference, margin * numbers.stable_mae):
        return None
    better = numbers.difference.estimate < 0
    return Verdict.BETTER if better else Verdict.WORSE, (
        f"The candidate's mean absolute error is {numbers.candidate_mae:.4g}, that of the stable version "
        f"{numbers.stable_mae:.4g}: a difference from {numbers.difference.low:.4g} to {numbers.difference.high:.4g}."
    )


def _is_clear(difference: Estimate, margin: float) -> bool:
    """Whether the interval excludes 0, and isn't within the margin."""
    return (difference.low > 0 or difference.high < 0) and max(abs(difference.low), abs(difference.high)) > margin


def _of_answers(agreement: Agreement, noise: Noise | None, margin: float) -> Decision:
    different = Estimate(estimate=1 - agreement.estimate, low=1 - agreement.high, high=1 - agreement.low)
    excess = different if noise is None else noise.excess
    said = f"{percent(different.estimate)} of {agreement.rows} rows differ ({_between(different)})"
    beyond = "" if noise is None else f", and the noise floor is {percent(noise.floor.estimate)}"
    if excess.high <= margin:
        return Verdict.SAME, f"{said}{beyond}: at most the margin of {percent(margin)}."
    above = noise is None or (noise.above and excess.estimate > margin)
    if different.low > margin and above:
        return Verdict.DIFFERS, f"{said}{beyond}: more than the margin of {percent(margin)}."
    if noise is not None and not noise.above and different.low > margin:
        return Verdict.INCONCLUSIVE, (
            f"{said}{beyond} ({_between(noise.floor)}): the difference may be noise. A larger control decides."
        )
    return Verdict.INCONCLUSIVE, f"{said}{beyond}: the margin is {percent(margin)}. More jobs decide."


def _with_gone_errors(answers: Decision, errors: Errors) -> Decision:
    fewer = errors.gone_jobs > errors.new_jobs and errors.p_value < _SIGNIFICANT
    if not fewer:
        return answers
    return answers if answers[0] is Verdict.DIFFERS else (Verdict.BETTER, _gone(errors))


def _gone(errors: Errors) -> str:
    return (
        f"{_jobs(errors.gone_jobs)} on the stable version only, and {errors.new_jobs} on the candidate only "
        f"(p = {errors.p_value:.2g})."
    )


def _notes(errors: Errors, truths: Truths | None, noise: Noise | None) -> Iterator[str]:
    if errors.new_jobs:
        yield f"{_jobs(errors.new_jobs)} on the candidate only."
    if errors.gone_jobs:
        yield f"{_jobs(errors.gone_jobs)} on the stable version only."
    if truths is None:
        yield "No truth is known: callers send them as feedback."
    elif truths.jobs < _MIN_TRUTH_JOBS:
        yield f"Truths of {truths.jobs} jobs are too few to decide; {_MIN_TRUTH_JOBS} are needed."
    if noise is None:
        yield "There is no control, so the noise floor is unknown, and counts as 0."


def _times_note(times: PredictTimes) -> Iterator[str]:
    if times.ratio is not None and not _FASTER <= times.ratio <= _SLOWER:
        slower = times.ratio > 1
        factor = times.ratio if slower else 1 / times.ratio
        yield f"The candidate is {factor:.1f} times {'slower' if slower else 'faster'} at equal batch sizes."


def _jobs(count: int) -> str:
    return f"{count} job fails" if count == 1 else f"{count} jobs fail"


def _between(interval: Estimate) -> str:
    return f"95 %: {percent(interval.low)} to {percent(interval.high)}"
