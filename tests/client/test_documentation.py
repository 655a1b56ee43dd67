"""The examples of docs/guides/client.md, as a program: its types are right; `tests/service` runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documentation import documented_program
from tests.support.service.environment import REPOSITORY, clean_environment


@pytest.mark.long
@pytest.mark.slow
def test_the_examples_have_the_types_that_the_client_says(tmp_path: Path) -> None:
    program = tmp_path / "examples.py"
    program.write_text(documented_program("client.md") + "reveal_type(job.wait().outcome.version)\nclient.deploy(5)\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "pyproject.toml", str(program)],
        cwd=REPOSITORY, env=clean_environment(), capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    # What is wrong on purpose is found, and nothing else.
    assert 'Revealed type is "str"' in done.stdout
    assert "Found 1 error" in done.stdout, done.stdout
    assert 'Argument 1 to "deploy"' in done.stdout
