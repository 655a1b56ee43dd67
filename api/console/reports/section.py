"""A report document as HTML, for the pages of evaluations, shadows and rollouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import render_template
from markupsafe import Markup

from api.console.reports import charts, words
from workers.judging.comparison.document import Report

#: Confusions with more classes are shown as a list of the pairs that differ.
_TABLE_CLASSES = 12
_LISTED_PAIRS = 20
_LISTED_CLASSES = 50


def report_section(report: Mapping[str, Any], *, links_jobs: bool = True) -> Markup:
    """Return the section of a report, with links to its jobs; members of a newer release are left out."""
    known = Report.model_validate(report).model_dump(mode="json")
    rendered = render_template(
        "console/report.html",
        report=known,
        title=words.VERDICTS[known["verdict"]],
        scale=charts.disagreement(known) if known["rows"] else None,
        fields=[_field(each) for each in known["fields"]],
        calibration=charts.calibration(known["truths"]) if known["truths"] else None,
        links_jobs=links_jobs,
        facts=_facts(known["facts"]),
        **words.FILTERS,
    )
    return Markup(rendered)  # noqa: S704 - the template escapes


def _field(field: Mapping[str, Any]) -> dict[str, Any]:
    labels, numbers = field["labels"], field["numbers"]
    return {
        **field,
        "confusion": _confusion(labels) if labels else None,
        "chart": charts.differences(numbers) if numbers else None,
    }


def _confusion(labels: Mapping[str, Any]) -> dict[str, Any]:
    names = [each["label"] for each in labels["classes"]]
    rows = {(each["stable"], each["candidate"]): each["rows"] for each in labels["confusion"]}
    return {
        "names": names if len(names) <= _TABLE_CLASSES else [],
        "table": [(name, [rows.get((name, other), 0) for other in names]) for name in names],
        "pairs": [each for each in labels["confusion"] if each["stable"] != each["candidate"]][:_LISTED_PAIRS],
        "classes": labels["classes"][:_LISTED_CLASSES],
    }


def _facts(facts: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Any, Any]]:
    stable, candidate = facts.get("stable", {}), facts.get("candidate", {})
    return [(name, stable.get(name), candidate.get(name)) for name in dict.fromkeys([*stable, *candidate])]
