"""`python -m workers.flower`: Flower, configured by the settings, with a password if other machines can reach it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from workers.errors import SettingsWrong
from workers.platform.child_process import python_command
from workers.platform.loopback import is_loopback
from workers.platform.redis.start_check import refuse_wrong_redis
from workers.settings import WorkerSettings, load

USER = "queuecast"
#: Flower's own authentication settings, which take precedence.
_OWN_AUTH = ("FLOWER_BASIC_AUTH", "FLOWER_AUTH")
#: A task takes 7 kB of Flower's memory.
_MAX_TASKS = 20_000
#: The columns of the task list, unless FLOWER_TASKS_COLUMNS is set; Flower's default lacks the arguments.
_COLUMNS = "name,uuid,args,state,received,runtime,worker"


def command(settings: WorkerSettings) -> list[str]:
    """Return the command that runs Flower; it contains no secret."""
    return python_command(
        "workers.flower.guard", "-A", "workers.app", "flower",
        f"--address={settings.flower_host}",
        f"--port={settings.flower_port}",
        f"--max_tasks={_MAX_TASKS}",
        f"--read_only={str(settings.flower_read_only).lower()}",
    )  # fmt: skip


def environment(settings: WorkerSettings, given: Mapping[str, str]) -> dict[str, str]:
    """Return Flower's environment, including its password.

    Raises:
        SettingsWrong: other machines can reach it, and there is no password.
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
    """Replace this process by Flower; return the exit code if the settings are invalid."""
    try:
        settings = load()
        refuse_wrong_redis()
        os.execve(sys.executable, command(settings), environment(settings, os.environ))  # noqa: S606 - our own arguments
    except SettingsWrong as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's output
        return 1
