"""Redis as it fails over: a master, its replicas, and three sentinels that notice its loss within a second."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import redis

from tests.support.service.ports import free_port
from tests.support.waiting import eventually
from workers.embedded_redis import redis_binary
from workers.embedded_redis.server import EmbeddedRedis
from workers.platform.child_process import dies_with_parent

HOST, MASTER_NAME = "127.0.0.1", "mymaster"
#: Sentinels' own is 30,000: how long a master is silent until a sentinel takes it for lost.
DOWN_AFTER_MS = 500
#: Sentinels' own is 180,000: how long until another sentinel tries what one began.
FAILOVER_TIMEOUT_MS = 3_000
_SENTINELS, _QUORUM = 3, 2
#: The sentinels' user that docs/guides/redis-failover.md shows.
SENTINEL_USER, SENTINEL_PASSWORD = "queuecast", "only-for-sentinels"
SENTINEL_RIGHTS = "-@all +ping +hello +sentinel|masters"
#: Longer than a failover takes.
_PAUSE_MS = 10_000


class Server(EmbeddedRedis):
    """A Redis with more options, that can be killed, and be a replica."""

    def __init__(self, port: int, directory: Path, options: Mapping[str, str] | None = None) -> None:
        super().__init__(port, directory)
        self.ended = False
        #: Where others reach it.
        self.reached_at = port
        #: The default waits for five seconds for further replicas before it sends one its data.
        self._more = {"repl-diskless-sync-delay": "0", **(options or {})}
        self.ca = self._more.get("tls-ca-cert-file")
        if self.ca:
            self._more |= {"port": "0", "tls-port": str(port)}

    @property
    def url(self) -> str:
        """The URL of the user who may do everything."""
        password = self._more.get("masterauth")
        if self.ca:
            return f"rediss://:{password}@{HOST}:{self.port}/0?ssl_ca_certs={self.ca}"
        return f"redis://:{password}@{HOST}:{self.port}/0" if password else super().url

    def client(self) -> redis.Redis:
        """Return a client of redis-py's own kind, which takes a replica as well."""
        return redis.Redis.from_url(self.url, socket_timeout=5, decode_responses=True)

    def kill(self) -> None:
        """Kill it as it stands."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGKILL)
        self.wait()
        self.ended = True

    def start(self) -> Self:
        """Start it, as a master."""
        self.ended = False
        return super().start()

    def hang(self) -> None:
        """Have it answer nothing, until `go_on`."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Have it answer again."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGCONT)

    def follow(self, other: EmbeddedRedis) -> None:
        """Make it a replica of another one; return when it has its data."""
        with self.client() as client:
            client.replicaof(HOST, getattr(other, "reached_at", other.port))
            eventually(
                lambda: client.info("replication")["master_link_status"] == "up", 20, message="the replica has the data"
            )

    def role(self) -> str | None:
        """Return "master" or "slave"; None if it doesn't say."""
        try:
            with self.client() as client:
                return str(client.info("replication")["role"])
        except redis.RedisError:
            return None

    def _options(self) -> list[str]:
        return [*super()._options(), *(word for name, value in self._more.items() for word in (f"--{name}", value))]


class ReplicatedRedis:
    """All servers; a context manager that runs them.

    Args:
        options: of the servers, besides those of an embedded one. With `masterauth`, the default user has this
            password, and so have the sentinels. With `tls-ca-cert-file`, servers and sentinels speak TLS alone.
        replicas: how many there are. With one alone, none is left once it is the master.
        sentinel_lines: more of the sentinels' configuration; they replace what they need to log in.

    Attributes:
        servers: those with data; the first is the master at the beginning.
        sentinel_ports: where the sentinels listen.
    """

    def __init__(
        self,
        folder: Path,
        options: Mapping[str, str] | None = None,
        *,
        replicas: int = 2,
        sentinel_lines: Sequence[str] = (),
    ) -> None:
        self.directory = folder
        self.servers = [Server(free_port(), folder / f"redis-{number}", options) for number in range(replicas + 1)]
        self.sentinel_ports = [free_port() for _ in range(_SENTINELS)]
        self._sentinels: list[subprocess.Popen[bytes]] = []
        password = self.password = (options or {}).get("masterauth", "")
        self._sentinel_lines = sentinel_lines
        if password and not sentinel_lines:
            self._sentinel_lines = f"requirepass {password}", f"sentinel auth-pass {MASTER_NAME} {password}"
        tls = {name: value for name, value in (options or {}).items() if name.startswith("tls-")}
        self.ca = tls.get("tls-ca-cert-file")
        self._sentinel_tls = [f"{name} {value}" for name, value in tls.items()]

    @property
    def sentinel_url(self) -> str:
        """The URL for the service's settings."""
        return self.url_of("")

    def url_of(self, login: str) -> str:
        """Return the URL for the settings of a user (`name:password@`)."""
        places = ";".join(f"sentinel://{login}{HOST}:{port}" for port in self.sentinel_ports)
        own = f"&sentinel_password={self.password}" if self.password else ""
        tls = f"&ssl_ca_certs={self.ca}" if self.ca else ""
        return f"{places}/0?master_name={MASTER_NAME}{own}{tls}"

    @property
    def url(self) -> str:
        """The URL of the server that is the master now."""
        return self.master.url

    @property
    def pid(self) -> int | None:
        """The process id of the master."""
        return self.master.pid

    @property
    def log_path(self) -> Path:
        """The log of the server that was the master at first."""
        return self.servers[0].log_path

    @property
    def master(self) -> Server:
        """The server that most sentinels say is the master."""
        said = [place for port in self.sentinel_ports if (place := self._said_by(port))]
        most = max(set(said), key=said.count)
        return next(each for each in self.servers if each.reached_at == most)

    def start(self) -> Self:
        """Start all; return when the replica has the data and each sentinel knows all others."""
        for server in self.servers:
            server.start()
        for server in self.servers[1:]:
            server.follow(self.servers[0])
        self._sentinels = [self._started(port) for port in self.sentinel_ports]
        eventually(lambda: all(map(self._knows_all, self.sentinel_ports)), 20, message="the sentinels know each other")
        return self

    def stop(self) -> None:
        """Stop all."""
        for sentinel in self._sentinels:
            sentinel.kill()
            sentinel.wait()
        self._sentinels = []
        for server in self.servers:
            with suppress(ProcessLookupError, AssertionError):  # it was killed, or never started
                server.go_on()
            server.stop()

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()

    def fail_over(self) -> None:
        """Have the sentinels make a replica the master, as the guide says it for maintenance."""
        with self.master.client() as client:
            client.execute_command("CLIENT", "PAUSE", _PAUSE_MS, "WRITE")
        with self._sentinel(self.sentinel_ports[0]) as sentinel:
            sentinel.execute_command("SENTINEL", "FAILOVER", MASTER_NAME)

    def wait_for_master_after(self, old: Server, timeout_s: float = 20) -> Server:
        """Wait until another server is the master, and all sentinels know; return it."""

        def is_replaced() -> bool:
            said = {*map(self._said_by, self.sentinel_ports)}
            return len(said) == 1 and old.reached_at not in said and self.master.role() == "master"

        eventually(is_replaced, timeout_s, message="another server has become the master")
        return self.master

    def wait_for_replica(self, server: Server, timeout_s: float = 30) -> None:
        """Wait until this server follows the master, and has its data."""

        def follows() -> bool:
            try:
                with server.client() as client:
                    found = client.info("replication")
            except redis.RedisError:  # it has just become one, which closes its connections
                return False
            return bool(found["role"] == "slave" and found["master_link_status"] == "up")

        eventually(follows, timeout_s, message="the old master follows the new one")

    def make_whole(self) -> None:
        """Start the servers that were killed, and wait until all follow the master."""
        for server in self.servers:
            if server.ended:
                server.stop()
                server.start()
        for server in self.servers:
            if server is not self.master:
                self.wait_for_replica(server)

    def _started(self, port: int) -> subprocess.Popen[bytes]:
        directory = self.directory / f"sentinel-{port}"
        directory.mkdir(parents=True)
        # A sentinel writes into this file what it learns.
        path = directory / "sentinel.conf"
        lines = (
            *_configuration(port, directory, self.servers[0].reached_at),
            *self._sentinel_lines,
            *self._sentinel_tls,
        )
        if self.ca:
            lines = (*lines, "port 0", f"tls-port {port}")
        path.write_text("\n".join(lines) + "\n")
        binary = redis_binary.find()
        assert binary is not None
        return subprocess.Popen(
            [binary.path, path, "--sentinel"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=dies_with_parent(),
        )

    def _knows_all(self, port: int) -> bool:
        try:
            with self._sentinel(port) as sentinel:
                state: dict[str, Any] = sentinel.sentinel_masters()[MASTER_NAME]
        except redis.RedisError:
            return False
        return bool((state["num-other-sentinels"], state["num-slaves"]) == (_SENTINELS - 1, len(self.servers) - 1))

    def _sentinel(self, port: int) -> redis.Redis:
        tls: dict[str, Any] = {"ssl": True, "ssl_ca_certs": self.ca} if self.ca else {}
        return redis.Redis(
            host=HOST, port=port, password=self.password, socket_timeout=5, decode_responses=True, **tls
        )  # fmt: skip

    def _said_by(self, sentinel_port: int) -> int | None:
        try:
            with self._sentinel(sentinel_port) as sentinel:
                place = sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)
        except redis.RedisError:
            return None
        return int(place[1])


def _configuration(port: int, directory: Path, master_port: int) -> Sequence[str]:
    return (
        f"bind {HOST}",
        f"port {port}",
        f"dir {directory}",
        f"logfile {directory / 'sentinel.log'}",
        f"sentinel monitor {MASTER_NAME} {HOST} {master_port} {_QUORUM}",
        f"sentinel down-after-milliseconds {MASTER_NAME} {DOWN_AFTER_MS}",
        f"sentinel failover-timeout {MASTER_NAME} {FAILOVER_TIMEOUT_MS}",
    )
