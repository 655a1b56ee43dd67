"""What `queuecast run` needs to send webhooks without further set-up: a secret of its own, and receivers next to it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from api.cli.errors import StartFailed
from api.cli.settings import CliSettings
from registry.artifacts import private_files
from workers.webhooks.signing import new_secret

_SECRETS, _HOSTS, _NETWORKS = (f"QUEUECAST_WEBHOOK_{name}" for name in ("SECRETS", "HOSTS", "PRIVATE_NETWORKS"))
#: Programs on this machine, which could call each other anyhow: for an API that they alone can call.
_HOSTS_HERE = "http://127.0.0.1:* http://localhost:*"
_NETWORKS_HERE = "127.0.0.0/8 ::1/128"


def secret_file(settings: CliSettings) -> Path:
    """Return where the secret is kept that webhooks are signed with unless another is set."""
    return settings.data_dir.absolute() / "webhook-secret"


def variables(settings: CliSettings, given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that `given` lacks: a secret, which the first start makes, and receivers on this machine.

    The receivers only where this machine's own programs alone can call the API. Where it asks for keys or stands behind
    a proxy, callers may be elsewhere, and would reach every port of this machine.

    Raises:
        StartFailed: the secret can't be read or kept, or its file is empty.
    """
    found = {} if given.get(_SECRETS) else {_SECRETS: _secret(secret_file(settings))}
    if not given.get(_HOSTS) and settings.answers_this_machine_alone:
        found |= {_HOSTS: _HOSTS_HERE, _NETWORKS: given.get(_NETWORKS) or _NETWORKS_HERE}
    return found


def keep_secret(path: Path, secret: str) -> None:
    """Write a secret into a file for this user alone, unless one is there."""
    private_files.make_folder(path.parent)
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(secret + "\n")
    except FileExistsError:
        pass


def kept_secret(path: Path) -> str:
    """Return the secret that a file has."""
    return path.read_text(encoding="ascii").strip()


def _secret(path: Path) -> str:
    try:
        keep_secret(path, new_secret())
        secret = kept_secret(path)
    except OSError as error:
        raise StartFailed(f"The secret that webhooks are signed with can't be kept in {path}: {error}") from error
    if not secret:  # the process that began to write it was killed
        raise StartFailed(f"There is no secret in {path}: delete it, and the next start makes one.")
    return secret
