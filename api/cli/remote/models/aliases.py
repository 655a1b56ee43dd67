"""`queuecast aliases`, which moves and shows aliases of versions, and `queuecast models tag`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from api.cli.client import Client, path_of
from api.cli.options import calls_service
from api.cli.output import Output, local_time


class Tag(click.ParamType[tuple[str, str]]):
    """`NAME=VALUE`, both of them text."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return name and value."""
        if isinstance(value, tuple):
            return value
        name, equals, text = value.partition("=")
        if not equals or not name:
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        return name, text


def listed(values: Mapping[str, str]) -> str:
    """Return names and values as a table shows them."""
    return ", ".join(f"{name}={value}" for name, value in values.items())


@click.group()
def aliases() -> None:
    """Move and show aliases: movable names for versions, such as champion."""


@aliases.command(name="set")
@click.argument("model")
@click.argument("alias")
@click.argument("version")
@click.option("--expected", metavar="VERSION", help="Only if the alias names this version now.")
@click.option("--new", "is_new", is_flag=True, help="Only if the alias doesn't exist yet.")
@calls_service
def set_alias(
    client: Client, output: Output, model: str, alias: str, version: str, expected: str | None, is_new: bool
) -> None:
    """Let ALIAS name VERSION of MODEL; endpoints that follow it swap to that version, or roll it out.

    With --expected or --new, of two people who move it at once the second is refused.

    \b
    Examples:
      queuecast aliases set churn champion 3
      queuecast aliases set churn champion 4 --expected 3
    """
    if expected is not None and is_new:
        raise click.UsageError("Use either --expected or --new.")
    wanted = {"version": version} | ({"expected": expected} if expected is not None or is_new else {})
    found = client.put(path_of("models", model, "aliases", alias), wanted)
    if output.as_json:
        output.document(found)
        return
    names = "now names" if found["moved"] else "names already"
    output.line(f"{model}: {alias} {names} version {found['version']}.")
    for endpoint in found["swapped"]:
        output.note(f"{endpoint} swaps to it: queuecast deployments {endpoint}")
    for endpoint in found.get("rolling_out", ()):
        output.note(f"{endpoint} rolls it out: queuecast rollout watch {endpoint}")


@aliases.command(name="list")
@click.argument("model")
@calls_service
def list_aliases(client: Client, output: Output, model: str) -> None:
    """List the aliases of MODEL, with the endpoints that follow them."""
    found = client.get(path_of("models", model, "aliases"))
    if output.as_json:
        output.document(found)
        return
    output.table(
        ["ALIAS", "VERSION", "MOVED", "FOLLOWED BY"],
        [
            (each["alias"], each["version"], local_time(each["moved_at"]), ", ".join(each["followed_by"]))
            for each in found["aliases"]
        ],
        f"{model} has no aliases: queuecast aliases set --help",
    )


@aliases.command()
@click.argument("model")
@click.argument("alias")
@calls_service
def history(client: Client, output: Output, model: str, alias: str) -> None:
    """Show which version ALIAS named when, and who moved it, newest first."""
    found = client.get(path_of("models", model, "aliases", alias, "history"))
    if output.as_json:
        output.document(found)
        return
    rows = [
        (local_time(each["at"]), each["by"] or "anonymous", each["from"] or "–", each["to"] or "deleted")
        for each in found["moves"]
    ]
    output.table(["WHEN", "BY", "FROM", "TO"], rows, "It was never moved.")


@aliases.command()
@click.argument("model")
@click.argument("alias")
@calls_service
def delete(client: Client, output: Output, model: str, alias: str) -> None:
    """Delete ALIAS of MODEL, if no endpoint follows it; its history stays."""
    client.delete(path_of("models", model, "aliases", alias))
    if output.as_json:
        output.document({"model_name": model, "alias": alias, "deleted": True})
        return
    output.line(f"{model} has no alias {alias} any more.")


@click.command()
@click.argument("name")
@click.argument("tags", nargs=-1, type=Tag())
@click.option("--version", help="Tag this version instead of the model.")
@click.option("--remove", "removed", multiple=True, metavar="NAME", help="A tag to remove; repeatable.")
@calls_service
def tag(
    client: Client,
    output: Output,
    name: str,
    tags: tuple[tuple[str, str], ...],
    version: str | None,
    removed: tuple[str, ...],
) -> None:
    """Set TAGS of the model NAME, or of one of its versions: short texts that can change, unlike a version.

    \b
    Examples:
      queuecast models tag churn owner=risk tier=1
      queuecast models tag churn --version 3 reviewed=2026-11-29 --remove draft
    """
    if not tags and not removed:
        raise click.UsageError("Name tags to set, as NAME=VALUE, or to --remove.")
    of_version = () if version is None else ("versions", version)
    changes: dict[str, str | None] = {**dict(tags), **dict.fromkeys(removed)}
    found = client.patch(path_of("models", name, *of_version, "tags"), {"tags": changes})
    if output.as_json:
        output.document(found)
        return
    what = name if version is None else f"{name} version {version}"
    output.line(f"{what}: {listed(found['tags']) or 'no tags'}")
