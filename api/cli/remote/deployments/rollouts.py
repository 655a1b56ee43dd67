"""`queuecast rollout` and `queuecast shadow`: another version beside the one that an endpoint serves."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from api.cli.client import Client, Document, path_of
from api.cli.errors import ExitCode
from api.cli.options import Assignment, calls_service
from api.cli.output import Output, local_time

_WATCH_INTERVAL_S = 1.0
_OVER = ("promoted", "aborted")


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


@click.group()
def rollout() -> None:
    """Roll out another version of an endpoint's model in steps, with rules that abort it."""


@rollout.command(name="start")
@click.argument("endpoint")
@click.option("--version", required=True, help="The candidate: a version of the endpoint's model.")
@click.option("--steps", metavar="PERCENT,…", help="Its share of the jobs in each step.  [default: 1,10,50,100]")
@click.option("--min-jobs", type=int, help="Jobs that must have met it in a step.  [default: 200]")
@click.option("--step-s", type=float, help="How long a step lasts, in seconds.  [default: 600]")
@click.option(
    "--rule",
    "rules",
    type=Assignment(),
    multiple=True,
    help="errors, latency_p95 or disagreement, as NAME=LIMIT; null switches it off; repeatable.",
)
@click.option("--on-failure", type=click.Choice(["stable", "fail"]), help="Where a job runs again that fails on it.")
@click.option(
    "--evaluate", "is_evaluated", is_flag=True, help="Replay jobs of the journal first; wait for the verdict."
)
@click.option("--since", help="With --evaluate: the jobs that ended since, such as 24h or 7d.  [default: 24h]")
@click.option("--watch", "is_watched", is_flag=True, help="Wait for its end; exit code 1 if it is aborted or paused.")
@calls_service
def start_rollout(
    client: Client,
    output: Output,
    endpoint: str,
    version: str,
    steps: str | None,
    rules: tuple[tuple[str, Any], ...],
    is_evaluated: bool,
    is_watched: bool,
    **named: Any,
) -> None:
    """Let another version answer a growing share of ENDPOINT's jobs.

    A job that it fails is answered by the version that serves, and counts against it. It is promoted after the last
    step, aborted once a rule is broken, and paused if there are too few jobs to know.

    \b
    Examples:
      queuecast rollout start classifier_prod --version 2
      queuecast rollout start classifier_prod --version 2 --steps 5,50,100 --step-s 60 --rule disagreement=0.1 --watch
      queuecast rollout start classifier_prod --version 2 --evaluate --since 7d
    """
    wanted: Document = {"version": version, **{name: value for name, value in named.items() if value is not None}}
    if steps is not None:
        try:
            wanted["steps"] = [float(each) for each in steps.split(",")]
        except ValueError as error:
            raise click.BadParameter(f"{steps!r} is not a list of percents such as 1,10,100.") from error
    if is_evaluated:
        wanted["start"] = "evaluation"
    if rules:
        wanted["rules"] = dict(rules)
    view = client.post(path_of("deployments", endpoint, "rollout"), wanted)
    if is_watched:
        _watch(client, output, endpoint)
        return
    _show(output, view)


@rollout.command(name="show")
@click.argument("endpoint")
@calls_service
def show_rollout(client: Client, output: Output, endpoint: str) -> None:
    """Show the active or else the latest rollout of ENDPOINT: state, both versions, and what happened."""
    _show(output, client.get(path_of("deployments", endpoint, "rollout")))


@rollout.command(name="watch")
@click.argument("endpoint")
@calls_service
def watch_rollout(client: Client, output: Output, endpoint: str) -> None:
    """Show each step until the rollout of ENDPOINT ends; exit code 1 if it is aborted or paused."""
    _watch(client, output, endpoint)


def _steered(transition: str, text: str, *, has_reason: bool = True) -> click.Command:
    @rollout.command(name=transition, help=text)
    @click.argument("endpoint")
    @calls_service
    def command(client: Client, output: Output, endpoint: str, reason: str | None = None) -> None:
        body = {} if reason is None else {"reason": reason}
        _show(output, client.post(path_of("deployments", endpoint, "rollout", transition), body))

    return click.option("--reason", help="The reason, for its history.")(command) if has_reason else command


_steered("pause", "Pause the rollout of ENDPOINT: the candidate keeps its share of jobs.")
_steered("resume", "Resume the paused rollout of ENDPOINT: its step has its whole time again.", has_reason=False)
_steered("promote", "Let ENDPOINT serve the candidate alone.")
_steered("abort", "Abort the rollout of ENDPOINT: the version that serves answers all jobs again.")


@click.group()
def shadow() -> None:
    """Let another version predict jobs of an endpoint after their ends, and compare the answers."""


@shadow.command(name="start")
@click.argument("endpoint")
@click.option("--version", required=True, help="The candidate: a version of the endpoint's model.")
@click.option("--share", type=float, default=1.0, show_default=True, help="The share of jobs that it predicts.")
@calls_service
def start_shadow(client: Client, output: Output, endpoint: str, version: str, share: float) -> None:
    """Let a version predict jobs of ENDPOINT after their ends; callers neither wait for it nor see it.

    \b
    Example:
      queuecast shadow start classifier_prod --version 2 --share 0.2
    """
    body = {"version": version, "share": share}
    _show_shadow(output, client.post(path_of("deployments", endpoint, "shadow"), body))


@shadow.command(name="show")
@click.argument("endpoint")
@calls_service
def show_shadow(client: Client, output: Output, endpoint: str) -> None:
    """Show the running or else the latest shadow of ENDPOINT, with the verdict about its answers."""
    _show_shadow(output, client.get(path_of("deployments", endpoint, "shadow")))


@shadow.command(name="stop")
@click.argument("endpoint")
@calls_service
def stop_shadow(client: Client, output: Output, endpoint: str) -> None:
    """Stop the shadow of ENDPOINT; its report stays."""
    _show_shadow(output, client.delete(path_of("deployments", endpoint, "shadow")))


def _watch(client: Client, output: Output, endpoint: str) -> None:
    path, shown = path_of("deployments", endpoint, "rollout"), ""
    while True:
        view = client.get(path)
        now = f"{view['state']} {view['step']}"
        if now != shown:
            shown = now
            output.note(_line(view))
        if view["state"] in (*_OVER, "paused"):
            break
        time.sleep(_WATCH_INTERVAL_S)
    _show(output, view)
    if view["state"] != "promoted":
        sys.exit(ExitCode.FAILED)


def _line(view: Document) -> str:
    step = f", step {view['step']} of {len(view['steps'])}, weight {_percent(view['weight'])}" if view["step"] else ""
    return f"{view['state']}{step}{': ' + view['reason'] if view['reason'] else ''}"


def _show(output: Output, view: Document) -> None:
    if output.as_json:
        output.document(view)
        return
    stable, candidate = view["figures"]["stable"], view["figures"]["candidate"]
    output.facts(
        {
            "rollout": f"{view['model_name']} version {view['version']} on {view['endpoint_name']}",
            "state": _line(view),
            f"version {view['stable_version']}": _arm(stable),
            f"version {view['version']}": _arm(candidate),
            "answers": f"{view['figures']['disagreements']:,} of {view['figures']['pairs']:,} differ",
            **{each["rule"]: f"{each['state']}. {each['text']}" for each in view["figures"]["rules"]},
        }
    )
    output.line("")
    rows = [(local_time(each["at"]), each["by"] or "–", each["event"], each["reason"] or "") for each in view["events"]]
    output.table(["WHEN", "BY", "EVENT", "REASON"], rows, "Nothing happened.")


def _arm(figures: Document) -> str:
    p95 = figures["predict_p95_ms"]
    return f"{figures['jobs']:,} jobs, {figures['failed']:,} failed" + ("" if p95 is None else f", p95 {p95:.3g} ms")


def _lost(view: Document) -> dict[str, str]:
    """Return what to say about lost copies; the API of an earlier release does not count them."""
    if not view.get("lost"):
        return {}
    return {"lost": f"{view['lost']:,} jobs, as their hosts died ({view['lost_hosts']:,}) or took too long"}


def _show_shadow(output: Output, view: Document) -> None:
    if output.as_json:
        output.document(view)
        return
    report = view["report"]
    output.facts(
        {
            "shadow": f"{view['model_name']} version {view['version']} on {view['endpoint_name']}",
            "state": view["state"] + (f": {view['reason']}" if view["reason"] else ""),
            "share": _percent(view["share"]),
            "predicted": f"{view['predicted']:,} jobs, {view['errors']:,} failed, {view['shed']:,} left out",
            **_lost(view),
            "answers": f"{view['disagreements']:,} of {view['pairs']:,} differ",
            "verdict": "none yet" if report is None else f"{report['verdict']}. {report['reason']}",
        }
    )
