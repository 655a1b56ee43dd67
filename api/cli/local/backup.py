"""`queuecast backup` and `queuecast restore`: all that an embedded service keeps, as one folder."""

from __future__ import annotations

import functools
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from api.cli.errors import CliError
from api.cli.local import webhook_settings
from api.cli.output import Output, local_time, size
from api.cli.settings import load
from registry.artifacts import private_files

_FORMAT = 1
#: What is in the folder. The last one is written last: without it a backup is not whole.
_JOBS, _REGISTRY, _ARTIFACTS, _CONTENTS = "redis.rdb", "registry.db", "artifacts", "backup.json"
#: Only where `queuecast run` has made one: receivers of webhooks know it.
_SECRET = "webhook-secret"  # noqa: S105 - the name of a file


class BackupFailed(CliError):
    """The backup could not be made or restored."""

    code = "backup_failed"


@contextmanager
def _translated_errors() -> Iterator[None]:
    # Late: the other commands need neither.
    from registry.errors import RegistryError
    from workers.errors import WorkerError

    try:
        yield
    except (RegistryError, WorkerError) as error:
        raise BackupFailed(str(error), {"code": error.code}) from error
    except OSError as error:
        raise BackupFailed(f"{error.filename or 'The backup'}: {error.strerror}.") from error


def _on_this_machine(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--json`, pass it `output`, and turn errors into exit codes."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document, for programs.")
    @functools.wraps(function)
    def command(as_json: bool, **arguments: Any) -> None:
        output = Output(as_json=as_json)
        try:
            with _translated_errors():
                function(output=output, **arguments)
        except CliError as error:
            output.error(error)
            sys.exit(error.exit_code)

    return command


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@_on_this_machine
def backup(output: Output, folder: Path) -> None:
    """Copy jobs, registry and artifacts into FOLDER, a new one, while the service runs or not.

    For a service that `queuecast run` starts: a private Redis, SQLite, a folder of artifacts (in
    QUEUECAST_DATA_DIR). Run it on the same machine, with the same QUEUECAST_ variables. For services of
    your own (PostgreSQL, Redis, a bucket) `queuecast docs operations` has the commands.

    \b
    Jobs that are accepted after this, and outcomes that come after it, are not in it.
    FOLDER holds inputs and outcomes of jobs, and the secret of webhooks: keep it as safe as the service.

    \b
      queuecast backup /backups/$(date +%F)
      queuecast restore --check /backups/2026-11-24
    """
    if folder.exists() and any(folder.iterdir()):
        raise BackupFailed(f"{folder} is not empty. Choose a new folder for each backup.")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        contents = _make(folder, output)
    except BaseException:  # also Ctrl-C: a part of a backup is none, and in the way of the next
        shutil.rmtree(folder)
        raise
    if output.as_json:
        output.document({"folder": str(folder.absolute()), **contents})
        return
    artifacts, size_bytes = contents["artifacts"], contents["artifact_size_bytes"]
    output.line(f"{folder} has the jobs, the registry and {artifacts} artifacts ({size(size_bytes)}).")


def _make(folder: Path, output: Output) -> dict[str, Any]:
    """Copy in this order: jobs name deployments, deployments name artifacts, so what is named is copied later."""
    from registry import migrate
    from registry.artifacts.store import checksum_of
    from registry.upkeep import backup as registry_backup
    from workers.embedded_redis import snapshot

    registry_backup.database_file()  # refuses at once what can't be copied like this
    migrate.refuse_absent()
    made_at = datetime.now(UTC)
    output.note("Jobs …")
    snapshot.save(_redis_url(), _redis_directory(), folder / _JOBS)
    output.note("Registry …")
    registry_backup.copy_database(folder / _REGISTRY)
    output.note("Artifacts …")
    artifacts = registry_backup.artifacts_in(folder / _REGISTRY)
    registry_backup.copy_artifacts(artifacts, folder / _ARTIFACTS, lambda text: output.note(f"{text} …"))
    names = [_JOBS, _REGISTRY]
    if (secret := webhook_settings.secret_file(load())).exists():
        webhook_settings.keep_secret(folder / _SECRET, webhook_settings.kept_secret(secret))
        names.append(_SECRET)
    contents = {
        "format": _FORMAT,
        "made_at": made_at.isoformat(),
        "artifacts": len(artifacts),
        "artifact_size_bytes": sum(each.size_bytes for each in artifacts),
        "sha256": {name: checksum_of(folder / name) for name in names},
    }
    private_files.make_file(folder / _CONTENTS)
    (folder / _CONTENTS).write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
    return contents


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--check", is_flag=True, help="Only read the backup, and say whether it is whole.")
@_on_this_machine
def restore(output: Output, folder: Path, check: bool) -> None:
    """Put what `queuecast backup` copied into FOLDER where a service will start with it.

    That is QUEUECAST_DATA_DIR (./data), in which there must be no service's data yet; nothing runs meanwhile.
    Everything is read and compared with its checksum before anything is written.

    \b
      mv data data.broken
      queuecast restore /backups/2026-11-24
      queuecast run
    """
    from registry.upkeep import backup as registry_backup
    from workers.embedded_redis import snapshot

    contents = _read(folder)
    artifacts = registry_backup.artifacts_in(folder / _REGISTRY)
    registry_backup.check_artifacts(artifacts, folder / _ARTIFACTS)
    if not check:
        registry_backup.refuse_to_replace()
        snapshot.refuse_to_replace(_redis_directory())
        if _SECRET in contents["sha256"]:
            secret = webhook_settings.kept_secret(folder / _SECRET)
            webhook_settings.keep_secret(webhook_settings.secret_file(load()), secret)
        # The jobs last: what they name is there then.
        registry_backup.restore(folder / _REGISTRY, artifacts, folder / _ARTIFACTS)
        registry_backup.put_in_place(folder / _JOBS, snapshot.restored_path(_redis_directory()))
    if output.as_json:
        output.document({"restored": not check, **contents})
        return
    made_at = local_time(contents["made_at"])
    output.line(f"The backup of {made_at}, with {len(artifacts)} artifacts, is {'whole' if check else 'restored'}.")
    if not check:
        output.note("Start the service: queuecast run")


def _read(folder: Path) -> dict[str, Any]:
    from registry.artifacts.store import checksum_of

    try:
        contents: dict[str, Any] = json.loads((folder / _CONTENTS).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise BackupFailed(f"{folder} is no backup, or one that was not finished: it lacks {_CONTENTS}.") from error
    if contents["format"] != _FORMAT:
        raise BackupFailed(f"A newer release made {folder}: restore it with that one.")
    for name, sha256 in contents["sha256"].items():
        if checksum_of(folder / name) != sha256:
            raise BackupFailed(f"{folder / name} is not what was copied: the backup is damaged.")
    return contents


def _redis_url() -> str:
    settings = load()
    return settings.own_redis_url if settings.runs_own_redis else settings.redis_url


def _redis_directory() -> Path:
    return load().data_dir.expanduser().absolute() / "redis"
