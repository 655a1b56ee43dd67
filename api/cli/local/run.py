"""`queuecast run`: the whole service on this machine, in the foreground."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from api.cli.client import Client
from api.cli.errors import CliError
from api.cli.local import starting, webhook_settings
from api.cli.local.supervisor import Stopped, Supervisor, stoppable
from api.cli.local.welcome import welcome
from api.cli.output import Output
from api.cli.settings import CliSettings, child_environment, load

_COLOURS = {"redis": "magenta", "web": "cyan", "worker": "green", "flower": "yellow", "background": "blue"}


class Log:
    """What the processes write, with their names; held back until the service is ready."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._lock = threading.Lock()
        self.shown = False

    def write(self, name: str, line: str) -> None:
        """Show a process's line."""
        if self.shown:
            self.say(Text.assemble((f"{name:<11}", _COLOURS.get(name, "")), line))

    def say(self, text: Text | str) -> None:
        """Show a line of our own."""
        with self._lock:
            self._console.print(text, markup=False)


@click.command()
@click.option("--examples/--no-examples", default=True, show_default=True,
              help="Register and deploy the example models if there are no models.")  # fmt: skip
def run(examples: bool) -> None:
    """Run the whole service here, in the foreground; Ctrl-C stops it.

    Starts a private Redis (unless QUEUECAST_REDIS_URL names one), the API, a worker, Flower
    and the background process, which sends webhooks and writes the journal.
    Needs no clone and no files: an empty folder will do. Keeps all data in QUEUECAST_DATA_DIR (./data).
    Ports: QUEUECAST_PORT, QUEUECAST_FLOWER_PORT, QUEUECAST_REDIS_PORT.
    On another address than loopback (QUEUECAST_HOST) the API asks for keys: make one first
    with `queuecast keys create NAME --role admin --new-registry`, and put it into QUEUECAST_API_KEY.
    """
    try:
        with stoppable():
            _run(load(), Log(), examples=examples)
    except Stopped:
        click.echo("\nStopped.")
    except CliError as error:
        Output(as_json=False).error(error)
        sys.exit(error.exit_code)


def _run(settings: CliSettings, log: Log, *, examples: bool) -> None:
    starting.refuse_wrong_settings()
    if not settings.runs_own_redis:
        starting.refuse_wrong_redis()
    starting.refuse_taken_ports(settings)
    environment = child_environment(settings)
    environment |= webhook_settings.variables(settings, environment)
    with Supervisor(Path.cwd(), environment, log.write) as supervisor:
        starting.start(supervisor, settings, lambda text: log.say(f"{text} …"), examples=examples)
        client = Client(settings.own_url, settings.api_key.get_secret_value())
        log.say("\n" + welcome(settings, client))
        client.close()
        log.shown = True
        supervisor.wait_until(lambda: False)
