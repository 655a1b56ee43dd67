"""`queuecast models register` and `import-mlflow` with an environment, against a stand-in for the service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService

VERSION = {
    "model_name": "house", "version": "1", "runtime": "sklearn", "environment_sha256": "ab" * 32,
    "metadata": {"mlflow": {"flavor": "sklearn", "warnings": []}},
}  # fmt: skip
LOCK = f"a==1 \\\n    --hash=sha256:{'0' * 64}\n"


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    (tmp_path / "model").write_bytes(b"bytes")
    return tmp_path / "model"


def sent(service: FakeService) -> Any:
    """The environment that the command has sent."""
    _, _, rest = service.received[-1].body.partition(b'name="metadata"')
    text = rest.partition(b"\r\n\r\n")[2].partition(b"\r\n--")[0]
    return json.loads(text).get("environment")


@pytest.mark.parametrize(
    ("content", "words", "environment"),
    [
        ("# why\na==1\n\nb\n", (), {"requirements": ["a==1", "b"]}),
        ("a==1\n", ("--python", "3.12"), {"requirements": ["a==1"], "python": "3.12"}),
        (LOCK, (), {"lock": LOCK}),
    ],
)
def test_register_sends_the_requirements_or_the_lock_of_a_file(
    service: FakeService, command: Command, artifact: Path, content: str, words: tuple[str, ...], environment: Any
) -> None:
    service.on("POST", "/models", VERSION, status=201)
    (artifact.parent / "requirements.txt").write_text(content)
    file = str(artifact.parent / "requirements.txt")
    done = command("models", "register", "house", str(artifact), "--requirements", file, *words)
    assert done.exit_code == 0, done.output
    assert sent(service) == environment
    assert "its own environment, abababababab" in done.stderr


def test_import_mlflow_asks_for_the_environment_of_the_folder(
    service: FakeService, command: Command, tmp_path: Path
) -> None:
    service.on("POST", "/models", VERSION, status=201)
    (tmp_path / "MLmodel").write_text("flavors: {}")
    assert command("models", "import-mlflow", "house", str(tmp_path)).exit_code == 0
    assert sent(service) is None
    assert command("models", "import-mlflow", "house", str(tmp_path), "--own-environment").exit_code == 0
    assert sent(service) == {"from_folder": True}


def test_options_that_need_others_are_refused(command: Command, artifact: Path) -> None:
    alone = command("models", "register", "house", str(artifact), "--python", "3.12")
    assert (alone.exit_code, "--requirements" in alone.stderr) == (2, True)


def test_a_resolver_that_finds_nothing_is_an_error_with_its_last_lines(
    service: FakeService, command: Command, artifact: Path
) -> None:
    detail = "The environment can't be locked for Python 3.11:\nNo solution found"
    service.on("POST", "/models", {"detail": detail, "code": "environment_unresolvable"}, status=422)
    file = artifact.parent / "requirements.txt"
    file.write_text("a\n")
    done = command("models", "register", "house", str(artifact), "--requirements", str(file))
    assert done.exit_code == 1
    assert "No solution found" in done.stderr
