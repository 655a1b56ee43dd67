"""A Flask app on gunicorn's threads, a worker process and a private Redis: the frame of both baselines."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import redis

from bench.models import ONE_THREAD
from tests.support.service.environment import clean_environment
from tests.support.service.ports import free_port
from tests.support.service.processes import Child
from tests.support.waiting import eventually
from workers.embedded_redis.server import EmbeddedRedis

START_LIMIT_S = 30.0
#: 64 of them submitted and answered a third fewer jobs a second.
WEB_THREADS = 16


class FlaskService:
    """Starts Redis, the workers and the web server when entered, ends them at exit.

    Args:
        folder: for data and logs.
        web: the Flask app, as `module:name`.
        env: the variables of both; `{redis}` in a value stands for the URL of the private Redis.
    """

    def __init__(self, folder: Path, web: str, env: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.redis = EmbeddedRedis(free_port(), folder / "redis")
        filled = {name: value.format(redis=self.redis.url) for name, value in env.items()}
        self.env = clean_environment(**ONE_THREAD, **filled)
        self.workers: list[Child] = []
        self._web = web
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        self.redis.start()
        self._closing.callback(self.redis.stop)
        with redis.Redis.from_url(self.redis.url) as client:
            client.config_set("appendonly", "no")
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def start_worker(self, command: Sequence[str]) -> Child:
        """Start a worker; returns at once."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        child = self._closing.enter_context(Child(command, env=self.env, log_path=log))
        self.workers.append(child)
        return child

    def start_web(self) -> Child:
        """Start the web server; return when it listens."""
        command = ["python", "-m", "gunicorn", "--bind", f"127.0.0.1:{self.port}", "--worker-class", "gthread"]
        command += ["--threads", str(WEB_THREADS), "--keep-alive", "75", "--backlog", "1024", "--no-control-socket"]
        command += ["--log-level", "warning", self._web]
        self.web = self._closing.enter_context(Child(command, env=self.env, log_path=self.folder / "web.log"))
        eventually(self._listens, START_LIMIT_S, message=f"{self._web} listens")
        return self.web

    def _listens(self) -> bool:
        if not self.web.running:
            raise RuntimeError(f"{self.web.command} ended with {self.web.exit_code}:\n{self.web.log()}")
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def processes(self) -> dict[str, tuple[int, bool]]:
        """Return role -> process id and whether children count, without the workers."""
        assert self.redis.pid is not None
        return {"api": (self.web.pid, True), "redis": (self.redis.pid, False)}
