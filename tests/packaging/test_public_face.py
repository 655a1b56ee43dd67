"""`queuecast`: what other programs import, the same in a clone and installed."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import api.client
import queuecast
from queuecast import errors
from tests.support.service.environment import REPOSITORY, clean_environment
from tests.test_layers import loaded_by
from workers.errors import EARLIER_JOB_ERRORS_MODULE, JOB_ERRORS_MODULE, JobFailed, PredictionFailed


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(), cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_to_import_it_loads_nothing_but_itself() -> None:
    ours = loaded_by("import queuecast") - loaded_by("pass")
    assert ours <= {"queuecast", "registry", "registry.module_names", "importlib.machinery"}


@pytest.mark.parametrize("name", ["Client", "AsyncClient"])
def test_a_program_that_wants_the_client_loads_no_celery_and_no_database(name: str) -> None:
    heavy = {"celery", "kombu", "redis", "sqlalchemy", "flask", "numpy", "workers", "granian"}
    assert loaded_by(f"from queuecast import {name}") & heavy == set()


def test_every_name_is_what_it_says() -> None:
    for name in queuecast.__all__:
        assert name in dir(queuecast)
        assert getattr(queuecast, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = queuecast.nonsense


@pytest.mark.parametrize("module", ["workers.app", "registry.registration", "api.client", "workers"])
def test_in_a_clone_the_installed_name_of_a_module_is_that_module(module: str) -> None:
    found = importlib.import_module(f"queuecast.{module}")
    assert found is importlib.import_module(module)
    assert found.__spec__ is not None
    assert found.__spec__.name == found.__name__ == module


def test_in_a_clone_a_module_that_is_not_there_is_not_there_by_either_name() -> None:
    for name in ("queuecast.workers.nonsense", "queuecast.nonsense", "queuecast.workers.app.nonsense"):
        with pytest.raises(ModuleNotFoundError, match="nonsense"):
            importlib.import_module(name)


def test_the_reasons_of_failed_jobs_are_among_its_errors() -> None:
    assert importlib.import_module(JOB_ERRORS_MODULE) is errors
    reasons: list[type] = [JobFailed, *JobFailed.__subclasses__()]
    assert [vars(errors).get(each.__name__) for each in reasons] == reasons


@pytest.mark.parametrize("module", [JOB_ERRORS_MODULE, EARLIER_JOB_ERRORS_MODULE])
def test_results_raise_these_errors_whatever_release_wrote_the_record(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "workers.errors", ModuleType("workers.errors"))  # a module of the program's own
    record = {"exc_type": "PredictionFailed", "exc_message": ["it broke"], "exc_module": module}
    raised = queuecast.app.backend.exception_to_python(record)
    assert type(raised) is PredictionFailed
    assert str(raised) == "it broke"


def test_results_raise_errors_of_others_as_celery_does() -> None:
    record = {"exc_type": "TaskRevokedError", "exc_message": ["cancelled"], "exc_module": "celery.exceptions"}
    assert type(queuecast.app.backend.exception_to_python(record)).__name__ == "TaskRevokedError"
    foreign = {"exc_type": "system", "exc_message": ["x"], "exc_module": JOB_ERRORS_MODULE}
    assert not isinstance(queuecast.app.backend.exception_to_python(foreign), JobFailed)


def test_a_second_copy_of_the_celery_app_is_refused(tmp_path: Path) -> None:
    (tmp_path / "workers").symlink_to(REPOSITORY / "workers")
    code = f"""
import sys, types, queuecast.workers.app
here = sys.modules["workers.app"]
for name in [each for each in sys.modules if each.partition(".")[0] == "workers"]:
    del sys.modules[name]
sys.modules["queuecast.workers.app"] = here
sys.path.insert(0, {str(tmp_path)!r})
try:
    import workers.app
except ImportError as error:
    print(error)
"""
    said = run(code)
    assert "is a second copy of" in said
    assert str(REPOSITORY / "workers" / "app.py") in said


def test_the_client_has_two_names_in_a_clone_and_is_one() -> None:
    for name in ("queuecast.client", "queuecast_client"):
        module = importlib.import_module(name)
        assert [getattr(module, each) for each in api.client.__all__] == [
            getattr(api.client, each) for each in api.client.__all__
        ]
        assert module.Client is queuecast.Client


def test_the_command_is_found_by_the_name_of_the_package() -> None:
    said = subprocess.check_output([sys.executable, "-m", "queuecast", "--version"], cwd=REPOSITORY, text=True)
    assert said.startswith("queuecast, version ")
