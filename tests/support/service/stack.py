"""A whole service for one test: Redis, registry, API server and workers, each a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import httpx
import kombu.pools
from celery import Celery

from tests.support.calls import Calls
from tests.support.service import prepared_examples
from tests.support.service.environment import REPOSITORY, clean_environment
from tests.support.service.ports import free_port
from tests.support.service.processes import Child
from tests.support.waiting import eventually
from workers.embedded_redis.server import EmbeddedRedis

START_TIMEOUT_S = 30.0
#: A folder that all processes of a test run share; None outside of test runs.
RUN_FOLDER: Path | None = None
#: The first registry at its newest revision, once there is one: to migrate takes a process and a second.
_migrated_files: list[bytes] = []


#: Starts a worker, as the Procfile does, and as Celery's own command line does.
OWN_COMMAND, CELERYS_COMMAND = "python -m workers.serve", "python -m celery -A workers.app worker"


class Worker(Child):
    """A worker process."""

    def __init__(self, name: str, command: str = OWN_COMMAND, **options: Any) -> None:
        self.name = name
        command += " --pool solo --concurrency 1 -E"
        command += f" --without-gossip --without-mingle --loglevel INFO --hostname {name}@%h"
        super().__init__(command.split(), **options)

    @property
    def node_name(self) -> str:
        """What Celery calls it, and outcomes name."""
        return f"{self.name}@{socket.gethostname()}"

    def wait_until_ready(self, timeout_s: float = START_TIMEOUT_S) -> Worker:
        """Wait until Celery says that it consumes."""
        self.wait_for_log(" ready.", timeout_s)
        return self


class Stack(Calls):
    """Starts everything but workers when entered; `start_worker` adds those. Stops all at the end.

    Args:
        folder: for data and logs; two stacks never share one.
        database_url: the registry's database, SQLite in `folder` by default.
        env: more variables for every process.

    Attributes:
        env: the whole environment of its processes.
        redis: its Redis; `stop()` and `start()` it to see what happens.
        api: an HTTP client whose base URL is the API's.
        server: the API's process.
    """

    server: Child

    def __init__(self, folder: Path, *, database_url: str | None = None, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.redis = EmbeddedRedis(free_port(), folder / "redis")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = clean_environment(
            QUEUECAST_DATA_DIR=str(folder / "data"),
            QUEUECAST_REDIS_URL=self.redis.url,
            QUEUECAST_PORT=str(self.port),
            QUEUECAST_URL=self.url,
            **({"DATABASE_URL": database_url} if database_url else {}),
        )
        self.env.update(env or {})
        self.workers: list[Worker] = []
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        try:
            self.redis.start()
            self._closing.callback(self.redis.stop)
            self._migrate()
            self.start_server()
            self.api = self._closing.enter_context(httpx.Client(base_url=self.url, timeout=75))
        except BaseException:
            print(self.last_logs())
            self._closing.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Told all at once, they end while the first is waited for.
        for child in (*self.workers, self.server):
            if child.running:
                child.descendants()
                child.send(signal.SIGTERM)
        self._closing.close()
        if kind is not None:
            print(self.last_logs())

    def start_server(self, *, ready: bool = True) -> Child:
        """Start the API's server (again); return when it is ready, or else as soon as it answers."""
        self.server = self._started(Child(["python", "-m", "api.serve"], env=self.env, log_path=self.logs / "web.log"))

        with httpx.Client(base_url=self.url) as client:

            def answers() -> bool:
                assert_running(self.server)
                try:
                    return client.get("/health/ready" if ready else "/health/live").status_code == 200
                except httpx.TransportError:
                    return False

            eventually(answers, START_TIMEOUT_S, message="the API is ready")
        return self.server

    def hide_registry(self) -> None:
        """Put a folder into the place of the registry's file, so that no user can open it, not even root."""
        self._rename_registry("registry", "hidden")
        self._registry_path.mkdir()

    def show_registry(self) -> None:
        """Put the registry's file back."""
        self._registry_path.rmdir()
        self._rename_registry("hidden", "registry")

    def _rename_registry(self, before: str, after: str) -> None:
        for path in self._registry_path.parent.glob(f"{before}.db*"):
            path.rename(path.with_name(path.name.replace(before, after)))

    @property
    def _registry_path(self) -> Path:
        return Path(self.env["QUEUECAST_DATA_DIR"]) / "registry.db"

    def start_worker(
        self,
        name: str = "worker",
        group: str = "default",
        env: Mapping[str, str] | None = None,
        *,
        wait: bool = True,
        command: str = OWN_COMMAND,
    ) -> Worker:
        """Start a worker; return when it consumes (or at once with `wait=False`)."""
        environment = {**self.env, "QUEUECAST_WORKER_GROUP": group, **(env or {})}
        worker = Worker(name, command, env=environment, log_path=self.logs / f"{name}.log")
        self.workers.append(worker)
        self._closing.callback(worker.stop)
        return worker.wait_until_ready() if wait else worker

    def start_background(self, env: Mapping[str, str] | None = None) -> Child:
        """Start the background process, as the Procfile does; return when it consumes."""
        command = ["/bin/sh", "-c", f"exec {procfile_command('background')}"]
        env = {**self.env, "PATH": _path_with_programs(), **(env or {})}
        background = self._started(Child(command, env=env, log_path=self.logs / "background.log"))
        background.wait_for_log(" ready.", START_TIMEOUT_S)
        return background

    @contextmanager
    def flower(self, worker: Worker, auth: tuple[str, str] | None = None) -> Iterator[str]:
        """Run Flower as the Procfile does; yields its URL once it knows the worker (`auth`: user, password).

        It knows it in two ways: by its events, from which it has jobs, and by asking it, without which its buttons
        answer 404. It asks by itself only as it starts, and waits a second for answers.
        """
        url, env = self._flower_place()
        command = ["/bin/sh", "-c", f"exec {procfile_command('flower')}"]
        with Child(command, env=env, log_path=self.logs / "flower.log") as flower:

            def told(**parameters: str) -> Any:
                assert_running(flower)
                try:
                    answer = httpx.get(f"{url}/api/workers", params=parameters, auth=auth, timeout=10)
                except httpx.TransportError:
                    return None
                return answer.json().get(worker.node_name) if answer.status_code == 200 else None

            hears = lambda: told(status="true")  # noqa: E731 - said in place
            asks = lambda: told(refresh="true", workername=worker.node_name)  # noqa: E731 - as above
            eventually(hears, START_TIMEOUT_S, interval_s=0.1, message="Flower has heard of the worker")
            eventually(asks, START_TIMEOUT_S, interval_s=0.1, message="Flower has an answer of the worker")
            yield url

    @cached_property
    def celery(self) -> Celery:
        """A Celery app that knows nothing of ours but the addresses of its broker and its Redis."""
        broker = self.env.get("QUEUECAST_BROKER_URL", self.redis.url)
        app = Celery("somebody-else", broker=broker, backend=self.redis.url, set_as_current=False)
        self._closing.callback(app.close)
        return app

    def forget_celery(self) -> None:
        """Close that app, if there is one: its connections may be to a broker that has ended."""
        app: Celery | None = vars(self).pop("celery", None)
        if app is not None:
            app.close()
        # kombu keeps one pool for each URL, whatever app has opened it.
        kombu.pools.reset()  # type: ignore[no-untyped-call]

    def wait_until_reserved(self, worker: Worker, job_ids: Iterable[str]) -> None:
        """Wait until a worker has taken these jobs from their queue and lets them wait for a host."""
        inspect = self.celery.control.inspect(destination=[worker.node_name], timeout=5)
        wanted = set(job_ids)
        eventually(
            lambda: wanted <= {job["id"] for job in (inspect.reserved() or {}).get(worker.node_name, [])},
            message=f"{worker.node_name} has taken the jobs",
        )

    def run(self, *arguments: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `python <arguments>` in this environment to its end."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.env, cwd=REPOSITORY, input=stdin, capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def queuecast(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the `queuecast` command to its end."""
        return self.run("-m", "api.cli", *arguments, check=check)

    def register_examples(self) -> None:
        """Register the example models, each as version 1; on SQLite copies of those that are fitted once a run."""
        if RUN_FOLDER is None or {"DATABASE_URL", "QUEUECAST_ARTIFACTS_URL"} & set(self.env):
            self.run("-m", "registry.examples")
        else:
            prepared_examples.register(RUN_FOLDER, self.env)

    def last_logs(self, lines: int = 60) -> str:
        """Return the end of every process's log: for a test that failed."""
        found = []
        for path in sorted([*self.logs.glob("*.log"), self.redis.log_path]):
            if path.exists():
                text = "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
                found.append(f"----- {path.name}\n{text}")
        return "\n".join(found)

    def _flower_place(self) -> tuple[str, dict[str, str]]:
        port = free_port()
        env = {**self.env, "QUEUECAST_FLOWER_PORT": str(port), "PATH": _path_with_programs()}
        return f"http://127.0.0.1:{port}", env

    def _migrate(self) -> None:
        """Make the registry's tables; an SQLite file is a copy of the first one."""
        path = self._registry_path
        if "DATABASE_URL" in self.env or path.exists():
            self.run("-m", "registry.migrate")
        elif _migrated_files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_migrated_files[0])
        else:
            self.run("-m", "registry.migrate")
            _migrated_files.append(path.read_bytes())

    def _started(self, child: Child) -> Child:
        self._closing.callback(child.stop)
        return child


def _path_with_programs() -> str:
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def procfile_command(name: str) -> str:
    """Return the command that the Procfile has for a process."""
    lines = (REPOSITORY / "Procfile").read_text().splitlines()
    [command] = [line.partition(": ")[2] for line in lines if line.startswith(f"{name}: ")]
    return command


def assert_running(child: Child) -> None:
    """Fail at once, with its log, if a process has ended."""
    if not child.running:
        raise RuntimeError(f"{child.command} ended with {child.exit_code}:\n{child.log()}")
