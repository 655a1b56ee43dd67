"""`queuecast stats`: an endpoint's figures of the last hour or day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from api.cli.client import Client, Document, path_of
from api.cli.errors import LimitExceeded
from api.cli.options import calls_service
from api.cli.output import Output, local_time

_BLOCKS = " ▁▂▃▄▅▆▇█"
#: The lines of a table beside the charts: more don't fit on a screen.
_MOST_ROWS = 12
_CHARTS = (
    ("jobs", "jobs"),
    ("failed", "failed"),
    ("total p95 ms", "total_p95_ms"),
    ("queued p95 ms", "queued_p95_ms"),
    ("predict p95 ms", "predict_p95_ms"),
    ("queue depth", "queue_depth"),
)
_COLUMNS = ("JOBS", "FAILED", "WITHDRAWN", "P50 MS", "P95 MS", "QUEUED P95", "PREDICT P95", "QUEUE DEPTH")
_FIELDS = (
    *("jobs", "failed", "withdrawn", "total_p50_ms", "total_p95_ms"),
    *("queued_p95_ms", "predict_p95_ms", "queue_depth"),
)

#: The figures of the whole time that can have a limit.
_LIMITED = (
    *("jobs", "failed", "withdrawn", "failed_share", "total_p50_ms", "total_p95_ms"),
    *("queued_p50_ms", "queued_p95_ms", "predict_p50_ms", "predict_p95_ms", "queue_depth"),
)


class _Limit(click.ParamType[tuple[str, float]]):
    """A field and its limit, e.g. total_p95_ms=500."""

    name = "FIELD=LIMIT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        """Return both."""
        field, _, limit = str(value).partition("=")
        if field not in _LIMITED:
            self.fail(f"{field!r} is not one of {', '.join(_LIMITED)}.", param, ctx)
        try:
            return field, float(limit)
        except ValueError:
            self.fail(f"{limit!r} is not a number.", param, ctx)


@click.command()
@click.argument("endpoint")
@click.option("--since", default="1h", show_default=True, help="How far back, from 1m to 24h; a unit m or h.")
@click.option(
    "--fail-over",
    "limits",
    type=_Limit(),
    multiple=True,
    help=f"Exit code 1 if a figure of the whole time is over its limit; repeatable. Fields: {', '.join(_LIMITED)}.",
)
@calls_service
def stats(client: Client, output: Output, endpoint: str, since: str, limits: tuple[tuple[str, float], ...]) -> None:
    """Show the figures of ENDPOINT over time, without Prometheus.

    Up to 1h each step is a minute, beyond it ten minutes. A chart has one character for each step, the newest on the
    right; its highest character is the largest value, which stands beside it. The table has the newest steps with jobs.

    \b
    Columns:
      JOBS, FAILED, WITHDRAWN  jobs that ended; with an error; cancelled or expired
      P50 MS, P95 MS           whole-job time, from submit to end
      QUEUED P95, PREDICT P95  from submit to the start of the batch; of the model host (ms)
      QUEUE DEPTH              most jobs that waited; "-" if no worker was there to look

    \b
    Examples:
      queuecast stats classifier_prod
      queuecast stats classifier_prod --since 24h --json
      queuecast stats classifier_prod --since 10m --fail-over failed_share=0.05 --fail-over total_p95_ms=500
    """
    found = client.get(path_of("deployments", endpoint, "stats"), since=since)
    if output.as_json:
        output.document(found)
    else:
        _show(output, found, since)
    _check(found, limits)


def _check(found: Document, limits: Sequence[tuple[str, float]]) -> None:
    """Raise LimitExceeded if a figure of the whole time is over its limit; what is unknown is over none."""
    summary, ended = found["summary"], found["summary"]["succeeded"] + found["summary"]["failed"]
    figures = {**summary, "failed_share": summary["failed"] / ended if ended else None}
    over = {name: figures[name] for name, limit in limits if figures[name] is not None and figures[name] > limit}
    if over:
        named = ", ".join(f"{name} is {value:g}" for name, value in over.items())
        raise LimitExceeded(f"{found['endpoint_name']}: {named}.", {"over": over})


def _show(output: Output, found: Document, since: str) -> None:
    summary, buckets = found["summary"], found["buckets"]
    step = "a minute" if found["step_s"] == 60 else f"{found['step_s'] // 60} minutes"
    output.line(f"{found['endpoint_name']}, last {since}; each step is {step}.")
    output.table(
        ["", "TOGETHER", "OVER TIME", "MOST OF A STEP"], [_chart(*each, summary, buckets) for each in _CHARTS], ""
    )
    shown = [each for each in buckets if each["jobs"] or each["queue_depth"]][-_MOST_ROWS:]
    output.line("")
    rows = [(local_time(each["at"]), *(each[name] for name in _FIELDS)) for each in shown]
    output.table(["FROM", *_COLUMNS], rows, "No job has ended in this time.")


def _chart(title: str, name: str, summary: Document, buckets: Sequence[Document]) -> tuple[Any, ...]:
    """Return a row with a chart: its title, the value of the whole time, the chart, the largest value of a step."""
    values = [each[name] for each in buckets]
    return title, summary[name], sparkline(values), max((each for each in values if each is not None), default=None)


def sparkline(values: Sequence[float | None]) -> str:
    """Return a character for each value, as high as its share of the largest; a blank for 0, a dot without a value."""
    largest = max((each for each in values if each), default=0)
    return "".join("·" if each is None else _block(each, largest) for each in values)


def _block(value: float, largest: float) -> str:
    # A value above 0 is always seen.
    return _BLOCKS[max(1, round(value / largest * 8))] if value else _BLOCKS[0]
