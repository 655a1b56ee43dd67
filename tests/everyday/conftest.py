"""The commands of the guides, run as they stand beside a running service, as somebody does who follows a guide."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.documentation import documented_commands
from tests.support.stack import Stack

HERE = Path(__file__).parent
#: Runs the block of a page that begins with `# <block>`; returns what it has printed.
Follow = Callable[..., str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these start a whole service."""
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


@pytest.fixture
def follow(service: Stack, tmp_path: Path) -> Follow:
    """Run a documented block in an empty folder, with `queuecast` on the PATH and the service as its target."""

    def run(page: str, block: str, *, exit_code: int = 0, **env: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        done = subprocess.run(
            ["/bin/bash", "-e", "-c", documented_commands(page, block)],
            cwd=tmp_path,
            env={**service.env, "PATH": path, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == exit_code, done.stdout
        return done.stdout

    return run
