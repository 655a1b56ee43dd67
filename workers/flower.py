"""`python -m workers.flower`: Flower as the settings say; where others can reach it, only behind a password."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from workers.errors import SettingsWrong
from workers.loopback import is_loopback
from workers.settings import WorkerSettings, load

USER = "queuecast"
#: Flower's own ways to ask who comes; whoever sets one of them knows what they want.
_OWN_AUTH = ("FLOWER_BASIC_AUTH", "FLOWER_AUTH")
#: Each is 7 kB in its memory.
_MAX_TASKS = 20_000
#: What its list of tasks shows, unless FLOWER_TASKS_COLUMNS says otherwise: its own default lacks the arguments.
_COLUMNS = "name,uuid,args,state,received,runtime,worker"


def command(settings: WorkerSettings) -> list[str]:
    """Return the command that runs Flower; no secret is in it."""
    return [
        sys.executable, "-m", "celery", "-A", "workers.app", "flower",
        f"--address={settings.flower_host}",
        f"--port={settings.flower_port}",
        f"--max_tasks={_MAX_TASKS}",
        f"--read_only={str(settings.flower_read_only).lower()}",
    ]  # fmt: skip


def environment(settings: WorkerSettings, given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that it runs in, with its password.

    Raises:
        SettingsWrong: others can reach it, and there is no password.
    """
    given = {"FLOWER_TASKS_COLUMNS": _COLUMNS, **given}
    password = settings.flower_password.get_secret_value()
    if password:
        return {**given, "FLOWER_BASIC_AUTH": f"{USER}:{password}"}
    if any(given.get(name) for name in _OWN_AUTH):
        return dict(given)
    if not is_loopback(settings.flower_host):
        raise SettingsWrong(
            f"QUEUECAST_FLOWER_HOST={settings.flower_host} lets other machines reach Flower, which shows every job "
            "and its input: set QUEUECAST_FLOWER_PASSWORD, or listen on 127.0.0.1."
        )
    return {**given, "FLOWER_UNAUTHENTICATED_API": "true"}


def main() -> int:
    """Become Flower; return the exit code if that can't be."""
    try:
        settings = load()
        os.execve(sys.executable, command(settings), environment(settings, os.environ))  # noqa: S606 - our own arguments
    except SettingsWrong as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's output
        return 1


if __name__ == "__main__":
    sys.exit(main())
