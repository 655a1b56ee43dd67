"""The report of a soak: JSON for programs, and a section of docs/explanation/reliability.md."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.report import put_between

_DOCS = Path(__file__).parents[2] / "docs"
PAGE = _DOCS / "explanation" / "reliability.md"
JSON = _DOCS / "soak.json"
BEGIN, END = "<!-- soak: begin (written by `make soak`) -->", "<!-- soak: end -->"
Report = dict[str, Any]


def recoveries(found: Mapping[str, Sequence[float]]) -> Report:
    """Return, for each kind of fault, how often it happened and how long the service took to recover."""
    return {
        kind: {
            "times": len(times_s),
            "median_recovery_s": round(statistics.median(times_s), 2),
            "longest_recovery_s": round(max(times_s), 2),
        }
        for kind, times_s in sorted(found.items())
    }


def markdown(report: Report) -> str:
    """Return the report as Markdown."""
    lines = [_made(report), "", _found(report), "", *_jobs_table(report), "", *_faults_table(report)]
    return "\n".join(lines)


def write(report: Report, page: Path = PAGE, document: Path = JSON) -> None:
    """Write the report into the page and the JSON document."""
    document.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    put_between(page, BEGIN, END, markdown(report))


def _made(report: Report) -> str:
    machine = report["machine"]
    return (
        f"`{report['command']}`, commit {report['commit']}, {report['date']}: {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['memory_gib']} GiB; Python {machine['python']}, Redis {machine['redis']}; "
        f"load {report['load_before']} before it. {report['minutes']:g} minutes, seed {report['seed']}, leases of "
        f"{report['lease_s']:g} s, [docs/soak.json](../soak.json)."
    )


def _found(report: Report) -> str:
    accepted = sum(each["accepted"] for each in report["jobs"].values())
    faults = sum(each["times"] for each in report["faults"].values())
    head = f"{accepted:,} jobs were accepted while {faults} faults of {len(report['faults'])} kinds happened. "
    if report["problems"]:
        return head + "**The audit has found:**\n\n" + "\n".join(f"- {each}" for each in report["problems"])
    refused = sum(number for answer, number in report["answers_to_submits"].items() if answer not in ("200", "202"))
    return head + (
        f"Each has its one right end; {report['read_twice']:,} ends were read twice, and none has changed. "
        f"{report['executed_more_than_once']} jobs were executed more than once. {report['junk']} messages that are no "
        f"task messages were put aside. {report['workers_ended_of_shortage']} workers ended because they had no file "
        "descriptors, and were started again. Nothing is left in queues, leases, bookkeeping or hosts. "
        f"{refused} submits met a part that was away, and were sent again under their idempotency keys."
    )


def _jobs_table(report: Report) -> list[str]:
    lines = ["| jobs | accepted | the slowest took |", "|---|---|---|"]
    for kind, found in report["jobs"].items():
        slowest_s = found["slowest_s"]
        lines.append(f"| {kind} | {found['accepted']:,} | {'' if slowest_s is None else f'{slowest_s:.1f} s'} |")
    return lines


def _faults_table(report: Report) -> list[str]:
    lines = ["| fault | times | median recovery | longest |", "|---|---|---|---|"]
    for kind, found in report["faults"].items():
        median_s, longest_s = found["median_recovery_s"], found["longest_recovery_s"]
        lines.append(f"| {kind} | {found['times']} | {median_s:.1f} s | {longest_s:.1f} s |")
    return lines
