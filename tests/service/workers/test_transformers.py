"""The guide about transformers: its program, in an environment of its own; the libraries are large, so in a tier."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.calls import predictions
from tests.support.documentation import documented_program
from tests.support.service.environment import REPOSITORY
from tests.support.service.stack import Stack

TEXTS = ["A very good film, and lovely", "the plot was dull", "I found it warm", "rather boring and weak, awful", "?"]
COMPARE = """
import json, sys
from transformers import pipeline
classify = pipeline("text-classification", model="sentiment")
print(json.dumps([classify(text)[0] for text in json.load(sys.stdin)]))
"""

pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def wheels() -> Path:
    """The folder of wheels that `make test-torch` fills."""
    folder = Path(sys.prefix) / "wheels"
    if not any(folder.glob("transformers-*.whl")):
        pytest.skip("the wheels of transformers are not there: make test-torch")
    return folder


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the guide's program has run."""
    folder = tmp_path_factory.mktemp("fitted")
    (folder / "train.py").write_text(documented_program("transformers.md"))
    run(folder, "train.py")
    return folder


@pytest.fixture(scope="module")
def with_wheels(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Iterator[Stack]:
    env = {"QUEUECAST_ENVIRONMENTS": "on", "QUEUECAST_WHEELS": str(wheels)}
    with Stack(tmp_path_factory.mktemp("transformers"), env=env) as running:
        running.start_worker()
        yield running


def run(folder: Path, *arguments: str, content: str = "", env: Mapping[str, str] | None = None) -> str:
    # Locking reads all of each wheel, and so does Python when it imports such libraries for the first time.
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, input=content, env=env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_pipeline_answers_as_in_its_own_process_alone_and_batched(with_wheels: Stack, fitted: Path) -> None:
    expected = json.loads(run(fitted, "-c", COMPARE, content=json.dumps(TEXTS)))
    assert [each["label"] for each in expected[:4]] == ["positive", "negative", "positive", "negative"]
    run(
        REPOSITORY,
        *("-m", "api.cli", "models", "register", "sentiment", str(fitted / "sentiment.pkl"), "--runtime", "python"),
        *("--option", "vectorized=true", "--input-example", '"a very good film"'),
        *("--requirements", str(fitted / "requirements.txt")),
        env=with_wheels.env,
    )
    with_wheels.deploy("sentiment", endpoint_name="sentiment", wait_s=0, max_batch_delay_ms=500)
    with_wheels.wait_for_status("sentiment", "active", 600)
    alone = [with_wheels.predict("sentiment", text)["prediction"] for text in TEXTS]
    check(alone, expected)
    outcomes = with_wheels.outcomes(with_wheels.submit_all("sentiment", TEXTS))
    assert max(each["batch_size"] for each in outcomes) > 1
    check(predictions(outcomes), expected)
    packages = with_wheels.api.get("/models/sentiment/versions/1").json()["environment"]["packages"]
    assert {each.partition("==")[0] for each in packages} >= {"transformers", "torch", "tokenizers", "safetensors"}


def check(answers: list[Any], expected: list[Any]) -> None:
    assert [each["label"] for each in answers] == [each["label"] for each in expected]
    assert [each["score"] for each in answers] == pytest.approx([each["score"] for each in expected], abs=1e-5)
