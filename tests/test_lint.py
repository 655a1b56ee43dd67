"""`make lint` judges the files of this repository, all of them and no others."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service.environment import REPOSITORY

CONFIGURATION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]


def judged_by_ruff() -> set[str]:
    ruff = Path(sys.executable).with_name("ruff")
    done = subprocess.run([ruff, "check", "--show-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return {str(Path(line).relative_to(REPOSITORY)) for line in done.stdout.splitlines()}


@pytest.fixture
def newcomers_file() -> Iterator[str]:
    path = REPOSITORY / "newcomers_train.py"
    path.write_text("import os\n")
    yield path.name
    path.unlink()


def test_what_a_newcomer_writes_beside_the_code_is_not_judged(newcomers_file: str) -> None:
    judged = judged_by_ruff()
    assert newcomers_file not in judged
    assert not any(newcomers_file.startswith(folder) for folder in CONFIGURATION["mypy"]["files"])
    assert CONFIGURATION["importlinter"]["root_packages"] == ["queuecast", "api", "workers", "registry"]


def test_every_program_of_the_repository_is_judged() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    ).stdout.split()
    ours = tracked or [str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "workers").rglob("*.py")]
    assert set(ours) - judged_by_ruff() == set()
    typed = tuple(CONFIGURATION["mypy"]["files"])
    assert [each for each in ours if not each.startswith(typed)] == []
