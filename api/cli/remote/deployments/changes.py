"""`queuecast configure`, `rollback` and `history`, and how commands say what a change has changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from api.cli.client import Client, Document, path_of
from api.cli.options import Assignment, Hosts, calls_service, waits
from api.cli.output import Output, local_time
from api.cli.remote.deployments import waiting
from registry.serving.settings import ServingSettings

_TIMEOUT_S = 120.0
_SETTINGS = f"Serving settings: {', '.join(ServingSettings.model_fields)}."
#: May contain a token.
_SECRET = "callback_url"  # noqa: S105 - a name
_SHOWN = 20


@click.command(epilog=_SETTINGS)
@click.argument("endpoint")
@click.option(
    "--set", "settings", type=Assignment(), multiple=True, help="A serving setting; null is its default; repeatable."
)
@click.option("--hosts", type=Hosts(), help="Model hosts in each worker: a number, or a range such as 0-4.")
@click.option("--gpu", type=float, help="Share of a GPU that each host has: 1, or a fraction such as 0.25; 0 for none.")
@click.option("--unset", multiple=True, metavar="NAME", help="A serving setting that gets its default; repeatable.")
@click.option("--group", "worker_group", help="The worker group that serves it.")
@click.option("--reset", is_flag=True, help="Give the defaults to all settings and the group that are not named.")
@waits("until it is active with them", _TIMEOUT_S)
@calls_service
def configure(
    client: Client,
    output: Output,
    endpoint: str,
    settings: tuple[tuple[str, Any], ...],
    hosts: int | dict[str, int] | None,
    gpu: float | None,
    unset: tuple[str, ...],
    worker_group: str | None,
    reset: bool,
    wait: bool,
    timeout_s: float,
) -> None:
    """Change settings of ENDPOINT, and nothing else: its version stays.

    A lower memory or time limit is first tried on a new model host; if that can't serve with it, the endpoint goes on
    with the limits of before.

    \b
    Examples:
      queuecast configure classifier_prod --hosts 2 --set max_memory_mb=500
      queuecast configure classifier_prod --hosts 0-4
      queuecast configure classifier_prod --unset max_memory_mb
    """
    wanted: Document = {**dict(settings), **dict.fromkeys(unset)}
    wanted |= {"hosts": hosts} if hosts is not None else {}
    wanted |= {"gpu": gpu} if gpu is not None else {}
    wanted |= {"worker_group": worker_group} if worker_group is not None else {}
    wanted |= {"reset": True} if reset else {}
    if not wanted:
        raise click.UsageError("Name what to change: --set, --hosts, --gpu, --unset, --group or --reset.")
    view = client.patch(path_of("deployments", endpoint), wanted)
    finish(client, output, view, timeout_s if wait else None)


@click.command()
@click.argument("endpoint")
@click.option("--to", "to_revision", type=click.IntRange(min=1), metavar="REVISION", help="A revision of the history.")
@waits("until it is active", _TIMEOUT_S)
@calls_service
def rollback(
    client: Client, output: Output, endpoint: str, to_revision: int | None, wait: bool, timeout_s: float
) -> None:
    """Serve again what ENDPOINT was before its last change: that version, those settings, that group.

    Changes that have failed are passed over. Another rollback leads back again. `queuecast history ENDPOINT` shows the
    revisions.

    \b
    Examples:
      queuecast rollback classifier_prod
      queuecast rollback classifier_prod --to 3
    """
    wanted = {} if to_revision is None else {"to_revision": to_revision}
    view = client.post(path_of("deployments", endpoint, "rollback"), wanted)
    finish(client, output, view, timeout_s if wait else None)


@click.command()
@click.argument("endpoint")
@click.option(
    "--limit", type=click.IntRange(min=1, max=100), default=_SHOWN, show_default=True, help="The most changes to show."
)
@calls_service
def history(client: Client, output: Output, endpoint: str, limit: int) -> None:
    """Show the changes of ENDPOINT, newest first: who made each, when, what changed, and the outcome.

    \b
    Examples:
      queuecast history classifier_prod
      queuecast history classifier_prod --json
    """
    found = client.get(path_of("deployments", endpoint, "history"), limit=limit)
    if output.as_json:
        output.document(found)
        return
    rows = [
        (
            each["revision"],
            local_time(each["at"]),
            each["by"] or "anonymous",
            _action(each),
            each["outcome"] or "pending",
            described(each["changes"]),
        )
        for each in found["changes"]
    ]
    output.table(["REVISION", "WHEN", "BY", "ACTION", "OUTCOME", "CHANGES"], rows, "It has no history.")
    for each in found["changes"]:
        if each["reason"]:
            output.note(f"revision {each['revision']}: {each['reason']}")
    if found["rollback_to"] is not None:
        output.note(f"queuecast rollback {endpoint} goes to revision {found['rollback_to']}.")


def finish(client: Client, output: Output, view: Document, timeout_s: float | None) -> None:
    """Say what a change of an endpoint has changed, wait unless `timeout_s` is None, and show the deployment."""
    changes = view.get("changes")
    if changes is not None and not _is_new(changes) and not output.as_json:
        output.line(f"{view['endpoint_name']}: {described(changes)}")
    if timeout_s is not None:
        view = waiting.active(client, output, view, timeout_s)
    if output.as_json:
        output.document({**view, "changes": changes})
        return
    output.line(f"{view['endpoint_name']} ({view['model_name']} version {view['version']}) is {view['status']}.")
    for warning in view.get("warnings") or []:
        output.note(f"Warning: {warning}")


def described(changes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what has changed, e.g. "version 3 → 4, hosts 1 → 2"."""
    if not changes:
        return "nothing changed"
    is_new = _is_new(changes)
    said = [f"new, {changes['model_name']['to']} version {changes['version']['to']}"] if is_new else []
    for name, change in changes.items():
        if is_new and (
            name in ("model_name", "version", "intent") or (name, change["to"]) == ("worker_group", "default")
        ):
            continue
        if name == _SECRET:
            said.append(f"{name} changed")
        elif name == "intent":
            said.append(f"{_intent(change['from'])} → {_intent(change['to'])}")
        else:
            said.append(f"{name} {_value(change['from'])} → {_value(change['to'])}")
    return ", ".join(said)


def keeps_version(view: Document) -> bool:
    """Tell whether a deploy found an endpoint that keeps its version."""
    changes = view.get("changes")
    return changes is not None and not changes.keys() & {"version", "model_name"}


def _is_new(changes: Mapping[str, Mapping[str, Any]]) -> bool:
    return "intent" in changes and changes["intent"]["from"] is None


def _action(change: Document) -> str:
    target = change["rolled_back_to"]
    return str(change["action"]) + (f" to {target}" if target is not None else "")


def _intent(intent: str) -> str:
    return "served" if intent == "serve" else f"undeployed ({intent})"


def _value(value: Any) -> str:
    if isinstance(value, dict) and value.keys() == {"min", "max"}:
        return f"{value['min']}-{value['max']}"
    return "none" if value is None else str(value)
