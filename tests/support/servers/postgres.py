"""A private PostgreSQL cluster from the installed binaries, on a free loopback port."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from itertools import count
from pathlib import Path

import psutil
import psycopg

from tests.support.service.environment import clean_environment
from tests.support.service.ports import free_port
from tests.support.waiting import eventually
from workers.platform.child_process import dies_with_parent

_USER = "queuecast"
#: PostgreSQL refuses to run as root; one of these then runs it.
_UNPRIVILEGED = ("postgres", "nobody")


def binaries() -> Path | None:
    """Return the folder with `initdb` and `postgres`, the newest if several; None if there is none."""
    on_path = shutil.which("initdb")
    if on_path and Path(on_path).with_name("postgres").exists():
        return Path(on_path).parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class PostgresCluster:
    """Its data lives in a temporary folder and is as durable as a test needs: not at all."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="queuecast-postgres-"))
        self._password = secrets.token_hex(8)
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self._owner = _owner()

    def start(self) -> PostgresCluster:
        """Make the cluster and start it."""
        password_file = self._folder / "password"
        password_file.write_text(self._password)
        if self._owner:
            for path in (self._folder, password_file):
                shutil.chown(path, self._owner)
        self._initialize(password_file)
        return self.resume()

    def resume(self) -> PostgresCluster:
        """Start it with the data that it has."""
        # A commit is in the operating system's memory when it returns, and so outlives a crash of the cluster.
        options = {"fsync": "off", "synchronous_commit": "on", "full_page_writes": "off", "max_connections": "60"}
        options |= {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        arguments = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._folder / "data", *arguments],
                stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
                user=self._owner, cwd=self._folder, env=clean_environment(), preexec_fn=dies_with_parent(),
            )  # fmt: skip
        eventually(self._answers, 20, message="PostgreSQL answers")
        return self

    def crash(self) -> None:
        """End it at once, and its children too; the data stays."""
        if self._process:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop all its processes (SIGSTOP): connections stay, and new ones are taken, but no answer comes."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        self._send(signal.SIGCONT)

    def stop(self) -> None:
        """Stop it and delete its data."""
        self.crash()
        shutil.rmtree(self._folder, ignore_errors=True)

    def create_database(self) -> str:
        """Make an empty database; return its URL."""
        name = f"test_{next(self._numbers)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type, unused-ignore]
        return self._url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database, also under connections that are still open."""
        name = url.rpartition("/")[2]
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")  # type: ignore[arg-type, unused-ignore]

    def _send(self, number: signal.Signals) -> None:
        """Send a signal to all its processes: first to the one that starts the others."""
        assert self._process is not None
        self._process.send_signal(number)
        for child in psutil.Process(self._process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # the one of a connection that was closed just now
                child.send_signal(number)

    def _url(self, database: str) -> str:
        return f"postgresql://{_USER}:{self._password}@127.0.0.1:{self.port}/{database}"

    def _initialize(self, password_file: Path) -> None:
        command: list[str | Path] = [self._programs / "initdb", "-D", self._folder / "data", "-U", _USER]
        command += ["-A", "scram-sha-256"]
        command += [f"--pwfile={password_file}", "--no-sync", "-E", "UTF8", "--no-locale"]
        done = subprocess.run(
            command, user=self._owner, cwd=self._folder, env=clean_environment(), capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError((self._folder / "log").read_text(errors="replace"))
        try:
            psycopg.connect(self._url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def _owner() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _UNPRIVILEGED if name in known)
