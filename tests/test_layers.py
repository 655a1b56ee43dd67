"""The direction of imports: api -> workers -> registry, and light modules that load nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.service.environment import REPOSITORY, clean_environment

MACHINE_LEARNING = {"numpy", "scipy", "sklearn", "joblib", "cloudpickle", "onnxruntime", "skops", "pandas"}
MACHINE_LEARNING |= {"xgboost", "lightgbm", "catboost", "torch"}
WEB = {"flask", "werkzeug"}
ENGINE = {"workers.engine", "workers.hosts"}


def loaded_by(statement: str) -> set[str]:
    """Every module that a fresh interpreter has after `statement`."""
    code = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(), cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("from api.app import create_app; create_app()", MACHINE_LEARNING | ENGINE),
        ("import api.serve", MACHINE_LEARNING | ENGINE),
        ("import api.cli.command", MACHINE_LEARNING | ENGINE | WEB | {"celery", "sqlalchemy"}),
        (
            "from api.cli.command import queuecast as q; q.get_command(q.context_class(q), 'jobs')",
            MACHINE_LEARNING | ENGINE | WEB | {"celery", "sqlalchemy", "redis"},
        ),
        ("import api.client", MACHINE_LEARNING | ENGINE | WEB | {"celery", "sqlalchemy", "workers", "registry"}),
        (
            "import workers.tasks, workers.jobs.query, workers.deployments.status, workers.jobs.on_loop.desk",
            MACHINE_LEARNING | ENGINE | WEB,
        ),
        ("from workers.app import app; app.finalize()", MACHINE_LEARNING | ENGINE | WEB),
        (
            "import registry.deployments, registry.versions, registry.signatures.signature",
            MACHINE_LEARNING | {"celery", *WEB},
        ),
        ("from registry import runtimes; runtimes.names()", MACHINE_LEARNING),
    ],
)
def test_a_fresh_interpreter_loads_none_of(statement: str, forbidden: set[str]) -> None:
    assert loaded_by(statement) & forbidden == set()
