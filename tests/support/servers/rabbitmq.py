"""A private RabbitMQ node from the installed server, on loopback ports and with an Erlang world of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import amqp
import psutil
import pytest

from tests.support.service.environment import clean_environment
from tests.support.service.ports import free_port
from tests.support.service.processes import Child, living
from tests.support.waiting import eventually

_START_TIMEOUT_S = 60.0
#: The server's own script, not Debian's wrapper, which insists on a user and on folders of the system.
_SCRIPTS = "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"
_USER = "queuecast"


def script() -> Path | None:
    """Return the script that starts RabbitMQ; None if it is not installed."""
    found = sorted(Path("/").glob(_SCRIPTS.lstrip("/")))
    on_path = shutil.which("rabbitmq-server")
    return found[-1] if found else Path(on_path) if on_path else None


def installed_script() -> Path:
    """Return that script; a missing one skips the test on a laptop and fails it in CI."""
    found = script()
    if found is None:
        message = "RabbitMQ is not installed (Debian: apt-get install rabbitmq-server)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


class RabbitNode:
    """One node with its own port mapper, cookie, data and logs in `folder`; it keeps its data over restarts."""

    def __init__(self, program: Path, folder: Path, *, management: bool = False) -> None:
        self._folder = folder
        #: Where the management plugin listens, if it is wanted.
        self._management_port = free_port() if management else None
        self._program = program
        self._password = secrets.token_hex(8)
        self._epmd_port = free_port()
        self._epmd: Child | None = None
        self._server: Child | None = None
        self.port = free_port()
        folder.mkdir(parents=True)

    @property
    def url(self) -> str:
        """The broker's URL."""
        return f"amqp://{_USER}:{self._password}@127.0.0.1:{self.port}//"

    @property
    def management_url(self) -> str:
        """The URL of the management plugin."""
        return f"http://{_USER}:{self._password}@127.0.0.1:{self._management_port}"

    @property
    def processes(self) -> list[psutil.Process]:
        """Its processes, and those that they have started, that live now."""
        started = [child for child in (self._server, self._epmd) if child is not None]
        return living(psutil.Process(child.pid) for child in started if child.running) + [
            process for child in started for process in child.descendants()
        ]

    @property
    def log_path(self) -> Path:
        """What the node has logged."""
        return self._folder / "rabbitmq.log"

    def start(self) -> RabbitNode:
        """Start the node (again); return when it takes connections."""
        if self._epmd is None:
            self._configure()
            command = ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"]
            self._epmd = Child(command, env=self._environment(), log_path=self._folder / "epmd.log")
            eventually(lambda: _listening(self._epmd_port), message="epmd listens")
        self._server = Child([str(self._program)], env=self._environment(), log_path=self.log_path)
        eventually(self._answers, _START_TIMEOUT_S, interval_s=0.1, message="RabbitMQ answers")
        return self

    def queues(self) -> dict[str, dict[str, Any]]:
        """What the node says of its queues: `messages_ready`, `messages_unacknowledged`, `consumers`, `type`."""
        found = self._listed("list_queues", "name", "messages_ready", "messages_unacknowledged", "consumers", "type")
        return {queue.pop("name"): queue for queue in found}

    def channels_of(self, connection_name: str) -> int:
        """How many channels the connections of this name have."""
        found = self._listed("list_connections", "client_properties", "channels")
        return sum(each["channels"] for each in found if connection_name in json.dumps(each["client_properties"]))

    def be_short_of_memory(self, yes: bool) -> None:
        """Set or clear the alarm that makes the node refuse messages."""
        self._control("set_vm_memory_high_watermark", "0.00001" if yes else "0.9")

    def close_all_connections(self) -> None:
        """End every connection, as an operator or a fault of the network does."""
        self._control("close_all_connections", "for a test")

    def _listed(self, *command: str) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(self._control("--formatter", "json", *command))
        return listed

    def _control(self, *command: str) -> str:
        program = str(self._program.with_name("rabbitmqctl"))
        done = subprocess.run(
            [program, "--quiet", *command],
            env=self._environment(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kill(self) -> None:
        """Kill the node without a warning; `start` brings it back with its data."""
        if self._server is not None:
            self._server.kill()
            self._server.stop()
            self._server = None

    def freeze(self) -> None:
        """Stop the node's process (SIGSTOP): connections stay, answers don't come."""
        assert self._server is not None
        self._server.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a stopped node go on."""
        assert self._server is not None
        self._server.send(signal.SIGCONT)

    def stop(self) -> None:
        """End the node and its port mapper."""
        self.kill()
        if self._epmd is not None:
            self._epmd.stop()
            self._epmd = None

    @contextmanager
    def channel(self) -> Iterator[amqp.Channel]:
        """A channel of the node, for what an operator or another program does."""
        credentials = {"userid": _USER, "password": self._password}
        with amqp.Connection(f"127.0.0.1:{self.port}", **credentials) as connection:
            yield connection.channel()

    def depth(self, queue: str) -> int:
        """How many messages of a queue nobody has fetched."""
        with self.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).message_count)

    def consumers(self, queue: str) -> int:
        """How many consumers a queue has."""
        with self.channel() as channel:
            return int(channel.queue_declare(queue, passive=True).consumer_count)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _configure(self) -> None:
        settings = {
            "listeners.tcp.default": f"127.0.0.1:{self.port}",
            "default_user": _USER,
            "default_pass": self._password,
            # A broker that is short of disk takes no messages; tests must not depend on the machine's.
            "disk_free_limit.absolute": "1MB",
        }
        plugins = ""
        if self._management_port is not None:
            plugins = "rabbitmq_management"
            settings |= {"management.tcp.ip": "127.0.0.1", "management.tcp.port": str(self._management_port)}
        text = "".join(f"{name} = {value}\n" for name, value in settings.items())
        (self._folder / "rabbitmq.conf").write_text(text)
        (self._folder / "enabled_plugins").write_text(f"[{plugins}].\n")
        (self._folder / "advanced.config").write_text("[].\n")
        cookie = self._folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(10).upper())
        cookie.chmod(0o400)

    def _environment(self) -> dict[str, str]:
        here = self._folder
        return clean_environment(
            HOME=str(here),
            ERL_EPMD_PORT=str(self._epmd_port),
            ERL_EPMD_ADDRESS="127.0.0.1",
            RABBITMQ_NODENAME="queuecast-test@localhost",
            RABBITMQ_CONF_ENV_FILE="/dev/null",
            RABBITMQ_CONFIG_FILE=str(here / "rabbitmq.conf"),
            RABBITMQ_ADVANCED_CONFIG_FILE=str(here / "advanced.config"),
            RABBITMQ_GENERATED_CONFIG_DIR=str(here / "generated"),
            RABBITMQ_ENABLED_PLUGINS_FILE=str(here / "enabled_plugins"),
            RABBITMQ_MNESIA_BASE=str(here / "mnesia"),
            RABBITMQ_LOG_BASE=str(here / "logs"),
            RABBITMQ_LOGS="-",
            RABBITMQ_PID_FILE=str(here / "pid"),
            RABBITMQ_DIST_PORT=str(free_port()),
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=(
                "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false +S 2 +sbwt none"
            ),
            # Makes the script become the node instead of its parent, so that there is one pid.
            RABBITMQ_ALLOW_INPUT="1",
            RABBITMQ_SERVER_START_ARGS="-noinput",
        )

    def _answers(self) -> bool:
        assert self._server is not None
        if not self._server.running:
            raise RuntimeError(f"RabbitMQ ended with {self._server.exit_code}:\n{self._server.log()}")
        return _listening(self.port) and "Server startup complete" in self._server.log()


def _listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
