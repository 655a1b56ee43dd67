"""`queuecast artifacts`: deletes what nothing needs from the artifact store."""

from __future__ import annotations

import click

from api.cli.client import Client, Document
from api.cli.options import calls_service
from api.cli.output import Output, size

_REASONS = {
    "deleted_version": "version deleted",
    "no_version": "registration broke off",
    "unfinished_upload": "upload broke off",
}


@click.group()
def artifacts() -> None:
    """Delete artifacts that nothing needs."""


@artifacts.command()
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
@click.option(
    "--grace", "grace_s", type=click.FloatRange(min=0), default=3600, show_default=True, metavar="SECONDS",
    help="Keep what was stored, or whose version was deleted, so recently; a backup may still copy it.",
)  # fmt: skip
@calls_service
def prune(client: Client, output: Output, dry_run: bool, grace_s: float) -> None:
    """Delete artifacts that no version, deployment or worker needs, and what broken uploads have left.

    So it does with environments, of which the registry has the locks.
    Versions stay until you delete them: queuecast models delete NAME VERSION. Versions with the
    same file share one artifact, which goes with the last of them. The artifact store must be this
    service's alone.

    \b
    Examples:
      queuecast artifacts prune --dry-run
      queuecast artifacts prune
    """
    with output.progress("looking through the artifact store"):
        report = _pruned(client, {"dry_run": dry_run, "grace_s": grace_s})
    if output.as_json:
        output.document(report)
        return
    rows = [(each["sha256"], size(each["size_bytes"]), _why(each)) for each in report["deleted"]]
    output.table(["ARTIFACT", "SIZE", "WHY"], rows, "Nothing to delete.")
    did = "Would delete" if dry_run else "Deleted"
    count, total = len(report["deleted"]), size(report["deleted_bytes"])
    if count:
        output.line(f"{did} {_files(count)}, {total}.")
    if environments := len(report["deleted_environments"]):
        output.line(f"{did} {environments} {'environment' if environments == 1 else 'environments'} without a version.")
    kept = f"{_files(report['needed_count'])} ({size(report['needed_bytes'])}) needed."
    output.note(f"Kept: {kept}")
    if young := len(report["too_young"]):
        output.note(
            f"Kept for now: {_files(young)} ({size(report['too_young_bytes'])}) that nothing needs, stored or deleted "
            f"within the last {grace_s:g} s (--grace)."
        )


def _pruned(client: Client, wanted: Document) -> Document:
    """Ask until everything is looked at; return one report."""
    report = client.post("/artifacts/prune", wanted)
    deleted, environments = report["deleted"], report.get("deleted_environments", [])
    while not report["is_complete"] and report["deleted"] and not report["dry_run"]:
        report = client.post("/artifacts/prune", wanted)
        deleted += report["deleted"]
        environments += report.get("deleted_environments", [])
    deleted_bytes = sum(each["size_bytes"] for each in deleted)
    return {**report, "deleted": deleted, "deleted_bytes": deleted_bytes, "deleted_environments": environments}


def _why(each: Document) -> str:
    why = _REASONS.get(each["reason"], str(each["reason"]))
    return f"{why}: {', '.join(each['versions'])}" if each["versions"] else why


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"
