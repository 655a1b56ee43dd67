"""A Redis with users, or with TLS, as docs/guides/security.md says it, and a service on it."""

from __future__ import annotations

import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

from tests.support.servers.proxy import Proxy
from tests.support.service.environment import REPOSITORY
from tests.support.service.processes import Child
from tests.support.service.stack import OWN_COMMAND, Stack, Worker
from workers.embedded_redis import redis_binary
from workers.embedded_redis.server import EmbeddedRedis

#: What the documentation shows, word for word.
USERS_FILE = REPOSITORY / "docs" / "redis-users.acl"
PASSWORD = "only-for-tests"
OLDEST_WITH_SELECTORS = (7, 0)


class SecuredRedis(EmbeddedRedis):
    """A Redis that starts with more options; `url_of` is how a user reaches it."""

    def __init__(self, port: int, directory: Path, options: Mapping[str, str]) -> None:
        super().__init__(port, directory)
        self._more = options

    @property
    def url(self) -> str:
        """The URL of the user who may do everything."""
        return self.url_of("default")

    def url_of(self, user: str) -> str:
        """Return the URL of a user."""
        return f"redis://{user}:{PASSWORD}@127.0.0.1:{self.port}/0"

    def _options(self) -> list[str]:
        return [*super()._options(), *(word for name, value in self._more.items() for word in (f"--{name}", value))]


class TlsRedis(EmbeddedRedis):
    """A Redis that others reach by TLS alone."""

    def __init__(self, port: int, directory: Path, tls_port: int, ca: Path) -> None:
        super().__init__(port, directory)
        self.tls_port = tls_port
        self._ca = ca

    def url_of(self, _user: str) -> str:
        """Return the URL for clients."""
        return f"rediss://127.0.0.1:{self.tls_port}/0?ssl_cert_reqs=required&ssl_ca_certs={self._ca}"


@contextmanager
def with_tls(port: int, folder: Path) -> Iterator[TlsRedis]:
    """Yield a Redis behind TLS; the packaged one speaks none, so that a proxy does, as stunnel would."""
    ca = certificates(folder)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(folder / "redis.crt", folder / "redis.key")
    with Proxy(port, tls) as proxy:
        yield TlsRedis(port, folder / "redis", proxy.port, ca)


def with_users(port: int, folder: Path) -> SecuredRedis:
    """Return a Redis with the users that the documentation shows; skips where Redis has no selectors."""
    found = redis_binary.find()
    if found and tuple(map(int, found.version.split(".")[:2])) < OLDEST_WITH_SELECTORS:
        pytest.skip(f"docs/redis-users.acl is for Redis 7.0 and newer; this one is {found.version}")
    folder.mkdir(parents=True, exist_ok=True)
    lines = USERS_FILE.read_text(encoding="utf-8").replace("PASSWORD", PASSWORD).splitlines()
    path = folder / "users.acl"
    path.write_text("\n".join(line for line in lines if line.startswith("user ")) + "\n")
    return SecuredRedis(port, folder / "redis", {"aclfile": str(path)})


def certificates(folder: Path) -> Path:
    """Make a certificate for 127.0.0.1; return that of the authority which signed it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for arguments in (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt",
        "req -newkey rsa:2048 -nodes -subj /CN=redis -keyout redis.key -out redis.csr",
        "x509 -req -in redis.csr -CA ca.crt -CAkey ca.key -days 2 -extfile names -out redis.crt",
    ):
        subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True, timeout=60)
    return folder / "ca.crt"


def tls_options(folder: Path) -> dict[str, str]:
    """Make certificates, and return how a server or a sentinel speaks TLS; skips where it was built without TLS."""
    found = redis_binary.find()
    assert found is not None
    with tempfile.TemporaryDirectory() as empty:
        # One that can speak TLS ends because it misses its certificate.
        asked = [str(found.path), "--port", "0", "--tls-port", "1", "--logfile", "", "--dir", empty]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False).stdout
    if "No tls-cert-file" not in said:
        pytest.skip(f"this server ({found.version}, {found.reason}) was built without TLS")
    ca = certificates(folder)
    return {
        "tls-cert-file": str(folder / "redis.crt"),
        "tls-key-file": str(folder / "redis.key"),
        "tls-ca-cert-file": str(ca),
        "tls-replication": "yes",
        "tls-auth-clients": "no",
    }


class SecuredStack(Stack):
    """A service that asks for API keys, and in which each process has a Redis user of its own.

    Attributes:
        api_key: an admin's, which `api` shows.
    """

    redis: SecuredRedis | TlsRedis
    api_key: str

    def __init__(self, folder: Path, redis: SecuredRedis | TlsRedis, env: Mapping[str, str] | None = None) -> None:
        own = {"QUEUECAST_REDIS_URL": redis.url_of("queuecast-api"), "QUEUECAST_AUTH": "on"}
        super().__init__(folder, env={**own, **(env or {})})
        self.redis = redis

    def start_server(self, *, ready: bool = True) -> Child:
        """Make the first key where there is none, as whoever sets up a service does, and start the API."""
        if "api_key" not in vars(self):
            made = self.queuecast("keys", "create", "me", "--role", "admin")
            self.api_key = made.stdout.strip()
        return super().start_server(ready=ready)

    def __enter__(self) -> Self:
        super().__enter__()
        self.api.headers["Authorization"] = f"Bearer {self.api_key}"
        return self

    def start_worker(
        self,
        name: str = "worker",
        group: str = "default",
        env: Mapping[str, str] | None = None,
        *,
        wait: bool = True,
        command: str = OWN_COMMAND,
    ) -> Worker:
        """Start a worker as its own user."""
        own = {"QUEUECAST_REDIS_URL": self.redis.url_of("queuecast-worker"), **(env or {})}
        return super().start_worker(name, group, own, wait=wait, command=command)

    def start_background(self, env: Mapping[str, str] | None = None) -> Child:
        """Start what sends webhooks as the workers' user."""
        return super().start_background({"QUEUECAST_REDIS_URL": self.redis.url_of("queuecast-worker"), **(env or {})})

    def _flower_place(self) -> tuple[str, dict[str, str]]:
        url, env = super()._flower_place()
        return url, {**env, "QUEUECAST_REDIS_URL": self.redis.url_of("queuecast-flower")}
