"""`queuecast registry`: moves the registry to another database, checks its artifacts, adds the example models."""

from __future__ import annotations

import sys

import click

from api.cli.errors import CliError
from api.cli.local.processes import become
from api.cli.output import Output


class CopyFailed(CliError):
    """The registry could not be copied; the target is as it was, but for empty tables."""

    code = "copy_failed"


@click.group()
def registry() -> None:
    """Move or check the registry, next to its database."""


@registry.command()
@click.option("--to", "target", required=True, metavar="URL",
              help="The new database; - reads its URL from stdin, so that no `ps` shows its password.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")
def copy(target: str, as_json: bool) -> None:
    """Copy the registry (DATABASE_URL, or registry.db in QUEUECAST_DATA_DIR) into an empty database.

    Models, versions, deployments with their settings, and API keys come along; artifacts and
    jobs are in other places and stay there. Stop the API first: what it writes after the copy is
    not in it. Running workers go on meanwhile. The source is only read, so that there is a way
    back. `queuecast docs moving-to-postgresql` has all steps.

    \b
    Examples:
      queuecast registry copy --to postgresql://queuecast:…@db.internal/queuecast
      queuecast registry copy --to sqlite:////var/lib/queuecast/registry.db
    """
    output = Output(as_json=as_json)
    try:
        counts = _copy(sys.stdin.readline().strip() if target == "-" else target, output)
    except CliError as error:
        output.error(error)
        sys.exit(error.exit_code)
    if as_json:
        output.document({"rows": counts})
        return
    output.table(["TABLE", "ROWS"], list(counts.items()), "")
    output.line(f"Copied {sum(counts.values())} rows; each was compared.")
    output.note(
        "Now set DATABASE_URL to the new database for the API, the workers and this command, and start them again."
    )
    output.note("Artifacts stay where they are: keep QUEUECAST_ARTIFACTS_URL, or QUEUECAST_DATA_DIR, as it is.")


@registry.command()
def check() -> None:
    """Check that the store has all artifacts of the registry, undamaged.

    It reads all of them, and ends with exit code 1 if one is missing or damaged. For the registry of
    DATABASE_URL and the artifacts of QUEUECAST_ARTIFACTS_URL, or both in QUEUECAST_DATA_DIR.
    """
    # Late, as below.
    from registry import checking

    sys.exit(checking.main())


@registry.command()
@click.option("--if-empty", is_flag=True, help="Do nothing if any model is registered.")
@click.option("--deploy", is_flag=True, help="Also deploy two of them.")
def examples(if_empty: bool, deploy: bool) -> None:
    """Register the three example models that `queuecast run` begins with.

    They are fitted here, on data sets that scikit-learn brings.
    """
    # This command loads no library of models; the process that it becomes does.
    become("registry.examples", [*["--if-empty"] * if_empty, *["--deploy"] * deploy])


def _copy(target: str, output: Output) -> dict[str, int]:
    # Late: the other commands need no database.
    from registry.errors import RegistryError, SettingsWrong
    from registry.upkeep import copying

    try:
        with output.progress("copying") as progress:
            return copying.copy(target, progress)
    except SettingsWrong as error:
        raise CopyFailed(str(error).replace("DATABASE_URL", "The URL"), {"code": error.code}) from error
    except RegistryError as error:
        raise CopyFailed(str(error), {"code": error.code}) from error
