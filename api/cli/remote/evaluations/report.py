"""A report of a comparison as text, and the exit code of its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.cli.errors import ExitCode
from api.cli.output import Output

Part = Mapping[str, Any]

#: What a pipeline does next: go on, stop, or look again with more jobs.
EXIT_CODES: Mapping[str, ExitCode] = {
    "same": ExitCode.OK,
    "better": ExitCode.OK,
    "differs": ExitCode.DIFFERS,
    "worse": ExitCode.WORSE,
    "inconclusive": ExitCode.INCONCLUSIVE,
}
_SHOWN_CLASSES = 12
_SHOWN_DIFFERENCES = 10
_LONGEST = 48


def exit_code(report: Part) -> ExitCode:
    """Return the exit code of a report's verdict; that of `inconclusive` for a verdict of a newer release."""
    return EXIT_CODES.get(report["verdict"], ExitCode.INCONCLUSIVE)


def show_report(output: Output, report: Part) -> None:
    """Show a report: the verdict first."""
    if output.as_json:
        output.document(report)
        return
    output.line(f"{report['verdict']}: {report['reason']}")
    for note in report["notes"]:
        output.line(note)
    output.line("")
    output.facts(_figures(report))
    for field in report["fields"]:
        _show_field(output, field)
    for name in ("new", "gone"):
        _show_errors(output, name, report["errors"][name])
    _show_differences(output, report["differences"])
    _show_times(output, report["predict_times"])


def _figures(report: Part) -> dict[str, str | None]:
    errors, noise, truths = report["errors"], report["noise"], report["truths"] or {}
    return {
        "versions": f"{report['stable_version']} (stable), {report['candidate_version']} (candidate)",
        "jobs": f"{report['jobs']} ({report['rows']} rows)",
        "agreement": _estimate(report["agreement"]),
        "agrees if": report["agreement"].get("agrees_if") or None,
        "noise floor": None if noise is None else _estimate(noise["floor"]),
        "errors": f"{errors['new_jobs']} new, {errors['gone_jobs']} gone",
        **_truths(truths),
        **{name.replace("_", " "): each for name, each in _facts(report["facts"]).items()},
    }


def _truths(truths: Part) -> dict[str, str]:
    found = {}
    if labels := truths.get("labels"):
        found["right"] = (
            f"{_percent(labels['stable_share'])} (stable), {_percent(labels['candidate_share'])} (candidate), "
            f"difference {_estimate(labels['difference'])}, p = {labels['p_value']:.2g}"
        )
    if numbers := truths.get("numbers"):
        found["mean absolute error"] = (
            f"{numbers['stable_mae']:.4g} (stable), {numbers['candidate_mae']:.4g} (candidate)"
        )
    return found


def _facts(facts: Part) -> dict[str, str]:
    stable, candidate = facts.get("stable", {}), facts.get("candidate", {})
    return {
        name: f"{stable.get(name, '-')} (stable), {candidate.get(name, '-')} (candidate)"
        for name in dict.fromkeys([*stable, *candidate])
    }


def _show_field(output: Output, field: Part) -> None:
    output.line("")
    output.line(f"{field['path']} ({field['kind']}): {_estimate(field['agreement'])} agree")
    if labels := field["labels"]:
        pairs = [each for each in labels["confusion"] if each["stable"] != each["candidate"]]
        rows = [(each["stable"], each["candidate"], each["rows"]) for each in pairs[:_SHOWN_CLASSES]]
        output.table(["stable", "candidate", "rows"], rows, "all labels are equal")
    if numbers := field["numbers"]:
        columns = ["p50", "p90", "p95", "p99", "max"]
        found = [(name, numbers[name]) for name in ("absolute", "relative") if numbers[name]]
        lines = [[name, *(f"{each[column]:.4g}" for column in columns)] for name, each in found]
        output.table(["difference", *columns], lines, "no differences are known")
    if likely := field["probabilities"]:
        output.line(
            f"{likely['crossed_up']} rows rise above {likely['threshold']:g}, {likely['crossed_down']} fall below it"
        )


def _show_errors(output: Output, name: str, groups: list[Part]) -> None:
    if groups:
        output.line("")
        rows = [(each["code"], _short(each["message"]), each["jobs"], each["job_id"]) for each in groups]
        output.table([f"{name} errors", "message", "jobs", "example"], rows, "")


def _show_differences(output: Output, differences: list[Part]) -> None:
    if differences:
        output.line("")
        rows = [
            (each["job_id"], each["field"], _short(each["stable"]), _short(each["candidate"]), each["truth"])
            for each in differences[:_SHOWN_DIFFERENCES]
        ]
        output.table(["differ most", "field", "stable", "candidate", "truth"], rows, "")


def _show_times(output: Output, times: Part) -> None:
    output.line("")
    output.line(times["note"])
    rows = [
        (each["batch_size"], f"{each['stable']['median_ms']:.2f}", f"{each['candidate']['median_ms']:.2f}")
        for each in times["by_batch_size"]
    ]
    if rows:
        output.table(["batch size", "stable median ms", "candidate median ms"], rows, "")


def _estimate(found: Part) -> str:
    return f"{_percent(found['estimate'])} (95 %: {_percent(found['low'])} to {_percent(found['high'])})"


def _percent(share: float) -> str:
    value = 100 * share
    return f"{value:.2f} %" if 0 < abs(value) < 1 else f"{value:.1f} %"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
