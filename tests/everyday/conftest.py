"""The commands of the guides, run as they stand beside a running service, as somebody does who follows a guide."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.support.calls import Calls
from tests.support.documentation import documented_commands
from tests.support.service.ports import free_port
from tests.support.service.processes import Child
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

HERE = Path(__file__).parent
#: Runs the block of a page that begins with `# <block>`; returns what it has printed.
Follow = Callable[..., str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these need a whole service."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)
            # A guide's commands start a process each.
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A service with one worker and the registered examples; each test has models and endpoints of its own."""
    with Stack(tmp_path_factory.mktemp("everyday")) as running:
        running.start_worker("worker")
        running.register_examples()
        yield running


class KeyedApi(Calls):
    """A second API beside the service, which asks for keys; `api` shows an admin's key."""

    def __init__(self, port: int, key: str, api: httpx.Client) -> None:
        self.port, self.key, self.api = port, key, api


@pytest.fixture(scope="package")
def keyed(service: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedApi]:
    """The same service as it is behind a proxy, started as the guide of security says."""
    port = free_port()
    key = service.queuecast("keys", "create", "me", "--role", "admin").stdout.strip()
    env = {**with_programs(service.env), "QUEUECAST_PORT": str(port), "QUEUECAST_TRUSTED_PROXIES": "127.0.0.1"}
    command = ["/bin/bash", "-e", "-c", documented_commands("security.md", "ask for keys")]
    log_path = tmp_path_factory.mktemp("keyed") / "web.log"
    headers = {"Authorization": f"Bearer {key}"}
    with (
        Child(command, env=env, log_path=log_path),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=75) as api,
    ):
        eventually(lambda: answers(api), 30, message="the API that asks for keys is ready")
        yield KeyedApi(port, key, api)


def answers(api: httpx.Client) -> bool:
    """Tell whether an API that has just been started is ready."""
    try:
        return api.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def with_programs(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with `queuecast` and `python` of this one on the PATH."""
    return {**env, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def run_block(service: Stack, folder: Path, page: str, block: str, *, exit_code: int = 0, **env: str) -> str:
    """Run a documented block in a folder, with `queuecast` on the PATH and the service as its target."""
    done = subprocess.run(
        ["/bin/bash", "-e", "-c", documented_commands(page, block)],
        cwd=folder,
        env={**with_programs(service.env), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == exit_code, done.stdout
    return done.stdout


@pytest.fixture
def follow(service: Stack, tmp_path: Path) -> Follow:
    """Run a documented block of the shared service in an empty folder."""
    return partial(run_block, service, tmp_path)
