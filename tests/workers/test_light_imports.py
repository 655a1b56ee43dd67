"""The modules for other programs are light to import in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.service.environment import REPOSITORY, clean_environment

WORKERS = REPOSITORY / "workers"
#: Modules and rooms that the API and other programs import.
LIGHT = [
    *("app", "settings", "tasks", "broker", "deployments", "jobs", "measures", "platform", "queues", "webhooks"),
    *("journal", "judging"),
]
HEAVY = {"xgboost", "lightgbm"}
HEAVY |= {"flask", "numpy", "pyarrow", "sklearn", "joblib", "cloudpickle", "onnxruntime", "psutil", "aiormq", "granian"}


def imported_by(statement: str) -> set[str]:
    # redis-py imports OpenTelemetry where it is installed, and that imports psutil.
    program = f"import json, sys; sys.modules['opentelemetry'] = None\n{statement}"
    program += "\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, env=clean_environment(),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return set(json.loads(done.stdout))


def modules_of(name: str) -> list[str]:
    """Return the names of a module, or of all modules in a room."""
    room = [f"workers.{name}.{path.stem}" for path in (WORKERS / name).glob("*.py") if path.stem != "__init__"]
    return room or [f"workers.{name}"]


@pytest.mark.slow
@pytest.mark.parametrize("name", LIGHT)
def test_a_light_module_loads_no_engine_no_flask_and_no_numpy(name: str) -> None:
    modules = imported_by(f"import {', '.join(modules_of(name))}")
    assert modules >= set(modules_of(name))
    assert not {each for each in modules if each.startswith(("workers.engine", "workers.hosts", "api"))}
    assert not {each.partition(".")[0] for each in modules} & HEAVY


@pytest.mark.slow
def test_the_task_is_ready_to_be_sent_and_still_light() -> None:
    statement = "from workers.tasks import predict; predict.s('adding', 1); assert predict.name == 'predict'"
    modules = imported_by(statement)
    assert not {each for each in modules if each.startswith(("workers.engine", "workers.hosts", "sqlalchemy"))}
    assert not {each.partition(".")[0] for each in modules} & HEAVY


@pytest.mark.slow
def test_the_command_of_a_worker_loads_no_other_command_of_celery_and_no_flower() -> None:
    modules = imported_by("import workers.serve, celery.apps.worker, workers.engine.celery.bootstep")
    assert not {each.partition(".")[0] for each in modules} & {"flower", "tornado", "click_repl", "prompt_toolkit"}
    assert not {each for each in modules if each.startswith("celery.bin.")} - {"celery.bin.base", "celery.bin.worker"}


@pytest.mark.slow
def test_importing_reads_no_environment_and_reaches_no_server() -> None:
    program = "import workers.tasks, workers.jobs.query, workers.jobs.on_loop.desk; print('fine')"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, env=clean_environment(QUEUECAST_LEASE_S="what"),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == "fine\n"


def test_calling_the_function_itself_says_how_jobs_are_sent() -> None:
    from workers.errors import WorkerError
    from workers.tasks import predict

    with pytest.raises(WorkerError, match=r"predict\.delay"):
        predict("adding", 1)
