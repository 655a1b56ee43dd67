"""A part of the tests against the installed package: their own sources, with the names that it has there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from distributions.names import left_over, rewritten
from distributions.staging import modules_of
from tests.packaging.conftest import Installed
from tests.support.service.environment import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.long]

#: Tests that need nothing of the repository: jobs, queues, inputs, hosts, routes and commands.
ROOMS = (
    "tests/workers/jobs",
    "tests/workers/queues",
    "tests/workers/hosts",
    "tests/registry/signatures",
    "tests/api/predictions",
    "tests/service/workers/test_commands.py",
)


@pytest.mark.timeout(900)
def test_a_part_of_the_tests_passes_against_the_installed_package(installed: Installed, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    modules = set(modules_of(REPOSITORY))
    for path in (tmp_path / "tests").rglob("*.py"):
        source = rewritten(path.read_text(encoding="utf-8"), modules)
        assert left_over(source) == [], path
        path.write_text(source, encoding="utf-8")
    # The configuration of pytest; what is tested comes from the environment alone.
    shutil.copyfile(REPOSITORY / "pyproject.toml", tmp_path / "pyproject.toml")
    where = installed.run("-c", "import queuecast.workers.app as app; print(app.__file__)", cwd=tmp_path)
    assert where.startswith(str(installed.packages))
    rooms = [room for room in ROOMS if (tmp_path / room).exists()]
    assert rooms == list(ROOMS)
    options = ["-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile"]
    marks = "not long and not torch and not catboost and not postgres and not rabbitmq and not browser"
    installed.run("-m", "pytest", *options, "-m", marks, *rooms, cwd=tmp_path, timeout_s=850)
