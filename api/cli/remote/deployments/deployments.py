"""`queuecast deploy`, `undeploy` and `deployments`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from api.cli.client import Client, Document, path_of
from api.cli.options import Assignment, Hosts, calls_service, waits
from api.cli.output import Output, local_time, to_json
from api.cli.remote.deployments import changes, waiting
from registry.serving.settings import ServingSettings

_DEPLOY_TIMEOUT_S = 120.0
_UNDEPLOY_TIMEOUT_S = 120.0


def _rows_or_auto(text: str) -> int | str:
    return text if text == "auto" else int(text)


@click.command(epilog=f"Serving settings: {', '.join(ServingSettings.model_fields)}.")
@click.argument("model")
@click.option(
    "--version",
    help="The version to deploy.  [default: the one that the endpoint has; the latest registered for a new endpoint]",
)
@click.option("--alias", help="In place of --version: the version that this alias of MODEL names now.")
@click.option(
    "--follow",
    is_flag=True,
    help="With --alias and --endpoint: swap with each later move of the alias, or roll it out (setting rollout).",
)
@click.option("--endpoint", "endpoint_name", help="The name of the endpoint.  [default: MODEL-vVERSION]")
@click.option("--group", "worker_group", help="The worker group that serves it.  [default: as it is, or default]")
@click.option(
    "--max-batch-size",
    type=_rows_or_auto,
    metavar="ROWS|auto",
    help="Most rows that are predicted at once; auto: as many as the latency target allows.  "
    "[default: 64 of different jobs, or all of one]",
)
@click.option(
    "--target-latency-ms",
    type=float,
    help="With auto: target for the time that a job waits for a host and is predicted.  [default: 100]",
)
@click.option("--hosts", type=Hosts(), help="Model hosts in each worker: a number, or a range such as 0-4.")
@click.option("--gpu", type=float, help="Share of a GPU that each host has: 1, or e.g. 0.25.  [default: 0]")
@click.option("--set", "settings", type=Assignment(), multiple=True, help="A serving setting; repeatable.")
@click.option(
    "--events",
    type=click.Choice(["full", "sampled", "off"]),
    help="The jobs that Flower and `celery events` show.  [default: full]",
)
@click.option("--reset", is_flag=True, help="Give the defaults to all settings and the group that are not named.")
@waits("until it is active", _DEPLOY_TIMEOUT_S)
@calls_service
def deploy(
    client: Client,
    output: Output,
    model: str,
    settings: tuple[tuple[str, Any], ...],
    follow: bool,
    reset: bool,
    wait: bool,
    timeout_s: float,
    **named: Any,
) -> None:
    """Deploy a version of MODEL: workers load it and take its jobs.

    On an endpoint that exists, this swaps to the version that it names, without refusing a job. What it doesn't name
    stays as it is, also after an undeploy: the version, the settings, the group. To change settings alone, see
    `queuecast configure`.

    \b
    Examples:
      queuecast deploy binary_classifier
      queuecast deploy binary_classifier --version 2 --endpoint classifier_prod --hosts 2
      queuecast deploy binary_classifier --hosts 0-4 --set idle_s=60
      queuecast deploy binary_classifier --alias champion --follow --endpoint classifier_prod
      queuecast deploy binary_classifier --alias champion --follow --endpoint classifier_prod \\
        --set 'rollout={"steps": [5, 50, 100], "min_jobs": 100}'
      queuecast deploy binary_classifier --max-batch-size auto --target-latency-ms 50
    """
    wanted = {"model_name": model, **dict(settings)}
    wanted |= {name: value for name, value in named.items() if value is not None}
    wanted |= {name: True for name, given in (("reset", reset), ("follow", follow)) if given}
    view = client.post("/deployments/deploy", wanted)
    changes.finish(client, output, view, timeout_s if wait else None)
    if not wanted.keys() & {"version", "alias"} and changes.keeps_version(view):
        output.note(f"It keeps version {view['version']}; --version swaps to another one.")
    output.note(f"Call it with: queuecast predict {view['endpoint_name']} '<input as JSON>'")


@click.command()
@click.argument("endpoint", required=False)
@click.option("--model", "model_name", help="Undeploy a model's deployments instead of one endpoint.")
@click.option("--version", help="With --model: only this version's.")
@click.option(
    "--backlog",
    type=click.Choice(["drain", "reject", "park"]),
    default="drain",
    show_default=True,
    help="Queued jobs are finished, are cancelled, or wait for the next deploy of that name.",
)
@waits("until nothing of it runs any more", _UNDEPLOY_TIMEOUT_S)
@calls_service
def undeploy(
    client: Client,
    output: Output,
    endpoint: str | None,
    model_name: str | None,
    version: str | None,
    backlog: str,
    wait: bool,
    timeout_s: float,
) -> None:
    """Take down ENDPOINT: it takes no new jobs from now on.

    \b
    Examples:
      queuecast undeploy classifier_prod
      queuecast undeploy --model binary_classifier --version 1 --backlog reject
    """
    if (endpoint is None) == (model_name is None):
        raise click.UsageError("Name either ENDPOINT or --model.")
    wanted = {"endpoint_name": endpoint, "model_name": model_name, "version": version, "backlog": backlog}
    answer = client.post("/deployments/undeploy", {name: value for name, value in wanted.items() if value is not None})
    views = answer["deployments"]
    if wait:
        for view in views:
            waiting.taken_down(client, output, view, timeout_s)
    if output.as_json:
        output.document(answer)
        return
    for view in views:
        output.line(f"{view['endpoint_name']} is {'down' if wait else 'being taken down'} (queued jobs: {backlog}).")


@click.command()
@click.argument("endpoint", required=False)
@calls_service
def deployments(client: Client, output: Output, endpoint: str | None) -> None:
    """List the deployments, or show ENDPOINT in full, with its hosts on each worker.

    \b
    Columns of the list:
      WORKERS           workers that have it loaded or load it
      JOBS              jobs that have ended since the endpoint's first job
      QUEUED            jobs that wait now
      MEAN 15M, P95 15M whole-job time (ms) over the last 15 minutes
    \b
    Columns of the workers:
      USED MB           what a worker's hosts use, and what is kept for them
      BUDGET MB         what its hosts may use together; none without a limit
      EVICTIONS         deployments put to sleep because others needed memory
      COLD STARTS       loads for waiting jobs, and how long the last ones took
    \b
    Columns of the workers' GPUs, if there are any:
      SHARE             how much of it deployments with a gpu have
      GPU USED MB       what all processes use of its memory
    \b
    Columns of an endpoint's hosts:
      STATE             loading, ready, failed, stopping, asleep or not placed
      HOSTS             ready model hosts, of the configured number
      MEMORY MB         resident memory of these hosts together
      LOAD MS           how long the model took to load
      BATCH P95 MS      95th percentile of recent batches, from claim to answer
    """
    found = client.get(path_of("deployments", endpoint)) if endpoint else client.get("/deployments")
    if output.as_json:
        output.document(found)
    elif endpoint:
        _show(output, found)
    else:
        show_table(output, found["deployments"])
        _show_memory(output, found.get("workers") or [])
        _show_gpus(output, found.get("workers") or [])


def _show(output: Output, view: Document) -> None:
    """Show one deployment: its facts, its settings, and its hosts on each worker as a table."""
    times = {name: local_time(view.get(name)) for name in ("deployed_at", "updated_at")}
    settings = {name: to_json(value) for name, value in (view.get("settings") or {}).items() if value is not None}
    shown = ", ".join(f"{name}={value}" for name, value in settings.items()) or None
    apart = {name: value for name, value in view.items() if name not in ("workers", "settings", "warnings")}
    if apart.get("following"):
        apart["following"] = apart["following"]["text"]
    output.facts({**apart, **times, "settings": shown})
    has_gpus = any(each.get("gpus") for each in view.get("workers") or [])
    output.line("")
    output.table(
        ["WORKER", "VERSION", "STATE", "HOSTS", "PIDS", *["GPUS"][:has_gpus], "MEMORY MB", "LOAD MS", "BATCH P95 MS"],
        [
            (
                each.get("worker"),
                each.get("version"),
                each.get("state"),
                f"{each.get('hosts')} of {each.get('hosts_wanted')}",
                " ".join(map(str, each.get("pids") or [])) or None,
                *([", ".join(each.get("gpus") or []) or None] if has_gpus else []),
                (each.get("memory_bytes") or 0) / 1e6,
                each.get("load_ms"),
                each.get("batch_p95_ms"),
            )
            for each in view.get("workers") or []
        ],
        "No worker has it.",
    )
    for each in view.get("workers") or []:
        if each.get("error"):
            output.note(f"{each.get('worker')}: {each['error']}")
    for warning in view.get("warnings") or []:
        output.note(f"Warning: {warning}")


def _show_memory(output: Output, workers: list[Document]) -> None:
    """Show the memory of the workers as a table, if they report it."""
    known = [each for each in workers if each.get("used_bytes") is not None]
    if not known:
        return
    output.line("")
    output.table(
        ["WORKER", "USED MB", "BUDGET MB", "EVICTIONS", "COLD STARTS", "COLD P50 MS", "COLD P95 MS"],
        [
            (
                each["worker"],
                each["used_bytes"] / 1e6,
                each["budget_bytes"] / 1e6 if each.get("budget_bytes") else None,
                each.get("evictions"),
                each.get("cold_starts"),
                each.get("cold_start_p50_ms"),
                each.get("cold_start_p95_ms"),
            )
            for each in known
        ],
        "",
    )


def _show_gpus(output: Output, workers: list[Document]) -> None:
    """Show the GPUs of the workers as a table, if there are any."""
    rows = [
        (
            each["worker"],
            f"{gpu['id']} ({gpu['name']})" if gpu.get("name") else gpu["id"],
            f"{gpu['share']:g} of 1",
            None if gpu.get("used_bytes") is None else gpu["used_bytes"] / 1e6,
            None if gpu.get("memory_bytes") is None else gpu["memory_bytes"] / 1e6,
        )
        for each in workers
        for gpu in each.get("gpus") or []
    ]
    if rows:
        output.line("")
        output.table(["WORKER", "GPU", "SHARE", "GPU USED MB", "GPU MEMORY MB"], rows, "")


def show_table(output: Output, views: list[Document]) -> None:
    """Show deployments as a table, with the reasons of those that are not active."""
    output.table(
        ["ENDPOINT", "MODEL", "VERSION", "STATUS", "WORKERS", "JOBS", "QUEUED", "MEAN 15M", "P95 15M"],
        [
            (
                view["endpoint_name"],
                view["model_name"],
                view["version"],
                view["status"],
                sum(each.get("state") != "not placed" for each in view.get("workers") or []),
                view.get("request_count"),
                view.get("queue_depth"),
                view.get("avg_latency_ms"),
                view.get("p95_ms"),
            )
            for view in views
        ],
        "Nothing is deployed: queuecast deploy --help",
    )
    if notes := [note for view in views for note in _notes(view)]:
        output.note("\n".join(notes))


def _notes(view: Document) -> Iterator[str]:
    """Yield why a deployment is not active, and where the alias is that it doesn't follow yet."""
    if view.get("reason"):
        yield f"{view['endpoint_name']}: {view['reason']}"
    standing = view.get("following")
    if standing and standing["version"] != view["version"]:
        yield f"{view['endpoint_name']} {standing['text']}"
