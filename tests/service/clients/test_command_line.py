"""The `queuecast` command against a running service: what it shows, what programs get, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from tests.support.models import SlowToLoad
from tests.support.service.environment import REPOSITORY
from tests.support.service.ports import free_port
from tests.support.service.stack import Stack

FAILED, USAGE, UNAVAILABLE, TIMED_OUT = 1, 2, 3, 4
ENDPOINT = "iris-prod"


@pytest.fixture(scope="module")
def iris() -> Any:
    data = load_iris()
    return LogisticRegression(max_iter=1000).fit(data.data[:, 2:], data.target_names[data.target].astype(object))


@pytest.fixture(scope="module")
def registered(service: Stack, iris: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `models register` has said."""
    artifact = tmp_path_factory.mktemp("models") / "iris.joblib"
    joblib.dump(iris, artifact)
    words = ["models", "register", "iris", str(artifact), "--runtime", "sklearn", "--input-example", "[4.5, 1.5]"]
    return service.queuecast(*words, "--option", "method=predict", "--metadata", "owner=botanists").stdout


@pytest.fixture(scope="module")
def deployed(service: Stack, registered: str) -> str:
    """What `deploy` has said."""
    return service.queuecast("deploy", "iris", "--endpoint", ENDPOINT, "--set", "max_batch_size=16").stdout


@pytest.fixture
def idle(service: Stack, name: str, registered: str) -> str:
    """The name of an endpoint that no worker serves."""
    return str(service.deploy("iris", endpoint_name=name, worker_group=name, wait_s=0)["endpoint_name"])


def as_json(service: Stack, *words: str, exit_code: int = 0) -> Any:
    """Run a command with --json; its stdout, or stderr if it fails, is one JSON document."""
    done = service.queuecast(*words, "--json", check=False)
    assert done.returncode == exit_code, done.stderr
    return json.loads(done.stdout or done.stderr)


def test_register_and_deploy_say_what_they_did(service: Stack, registered: str, deployed: str) -> None:
    assert registered == "Registered iris version 1.\n"
    assert deployed == f"{ENDPOINT} (iris version 1) is active.\n"
    view = service.view(ENDPOINT)
    assert (view["model_name"], view["settings"]["max_batch_size"]) == ("iris", 16)
    version = as_json(service, "models", "show", "iris", "--version", "1")
    assert version["metadata"]["owner"] == "botanists"


def test_predict_shows_the_prediction_alone_on_stdout(service: Stack, deployed: str, iris: Any, tmp_path: Path) -> None:
    done = service.queuecast("predict", ENDPOINT, "[4.5, 1.5]")
    assert json.loads(done.stdout) == iris.predict([[4.5, 1.5]])[0]
    assert "iris version 1" in done.stderr
    rows = load_iris().data[:, 2:].tolist()
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    outcome = as_json(service, "predict", "--model", "iris", "--many", f"@{tmp_path / 'rows.json'}")
    assert outcome["predictions"] == iris.predict(rows).tolist()
    assert service.job(outcome["job_id"])["status"] == "succeeded"


def test_many_inputs_of_a_file_become_a_job_each_and_one_bad_row_refuses_them_all(
    service: Stack, deployed: str, iris: Any, tmp_path: Path
) -> None:
    rows = load_iris().data[:, 2:].tolist()
    file = tmp_path / "rows.ndjson"
    file.write_text("\n".join(map(json.dumps, rows)))
    shown = service.queuecast("predict", "--bulk", ENDPOINT, f"@{file}").stdout
    assert [json.loads(line) for line in shown.splitlines()] == iris.predict(rows).tolist()
    file.write_text("\n".join(map(json.dumps, [*rows, [1.0]])))
    refused = as_json(service, "predict", "--bulk", ENDPOINT, f"@{file}", exit_code=FAILED)
    assert (refused["code"], refused["field"]) == ("input_invalid", "line 151: input")


def test_jobs_are_listed_shown_and_cancelled(service: Stack, idle: str) -> None:
    submitted = as_json(service, "predict", idle, "[4.5, 1.5]", "--no-wait")
    job_id = submitted["job_id"]
    listed = service.queuecast("jobs", "list", "--endpoint", idle).stdout
    [line] = [line for line in listed.splitlines() if job_id in line]
    assert "queued" in line
    assert service.queuecast("jobs", "cancel", job_id).stdout == f"Job {job_id} is cancelled.\n"
    assert as_json(service, "jobs", "list", "--endpoint", idle, "--status", "cancelled")["jobs"][0]["job_id"] == job_id
    shown = service.queuecast("jobs", "show", job_id, check=False)
    assert (shown.returncode, "cancelled" in shown.stdout) == (FAILED, True)
    assert as_json(service, "jobs", "cancel", job_id, exit_code=FAILED)["code"] == "job_not_cancellable"


def test_deployments_and_status(service: Stack, deployed: str, idle: str) -> None:
    status = service.queuecast("status").stdout
    assert "ready" in status
    for endpoint, state in ((ENDPOINT, "active"), (idle, "deploying")):
        [line] = [line for line in status.splitlines() if line.startswith(endpoint)]
        assert state in line
    assert as_json(service, "status")["status"] == "ready"
    names = {view["endpoint_name"] for view in as_json(service, "deployments")["deployments"]}
    assert {ENDPOINT, idle} <= names
    assert as_json(service, "deployments", ENDPOINT)["status"] == "active"
    assert "iris" in service.queuecast("models", "list").stdout


def test_exit_codes(service: Stack, deployed: str, idle: str) -> None:
    assert service.queuecast("predict", ENDPOINT, "no json", check=False).returncode == USAGE
    refused = as_json(service, "predict", ENDPOINT, "[1, 2, 3]", exit_code=FAILED)
    assert refused["code"] == "input_invalid"
    elsewhere = f"http://127.0.0.1:{free_port()}"
    assert as_json(service, "status", "--url", elsewhere, exit_code=UNAVAILABLE)["code"] == "service_unreachable"
    late = as_json(service, "predict", idle, "[4.5, 1.5]", "--timeout", "0.1", exit_code=TIMED_OUT)
    assert late["job"]["status"] == "queued"
    late = as_json(service, "deploy", "iris", "--endpoint", idle, "--timeout", "0.1", exit_code=TIMED_OUT)
    assert late["deployment"]["status"] == "deploying"


def test_deploy_shows_progress_on_a_terminal(service: Stack, name: str, tmp_path: Path) -> None:
    service.register(name, SlowToLoad("1", tmp_path / "gate"))
    terminal, its_end = pty.openpty()
    command = [sys.executable, "-m", "api.cli", "deploy", name, "--endpoint", name]
    env = {**service.env, "TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(
        command, env=env, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=its_end, text=True
    ) as deploying:
        os.close(its_end)
        shown = read_until(terminal, f"{name} is deploying. The model is being loaded.")
        assert deploying.poll() is None
        (tmp_path / "gate").touch()
        said, _ = deploying.communicate(timeout=60)
    os.close(terminal)
    assert deploying.returncode == 0, shown
    assert said == f"{name} ({name} version 1) is active.\n"


def read_until(terminal: int, text: str) -> str:
    """Read what is shown on a terminal until this text is; the test's own time limit ends it otherwise."""
    shown = ""
    while text not in shown:
        shown += os.read(terminal, 4096).decode(errors="replace")
    return shown


def test_undeploy_waits_until_it_is_down(service: Stack, name: str, registered: str) -> None:
    service.deploy("iris", endpoint_name=name)
    done = service.queuecast("undeploy", name, "--backlog", "park")
    assert done.stdout == f"{name} is down (queued jobs: park).\n"
    view = service.view(name)
    assert (view["status"], view["workers"]) == ("parked", [])
    assert as_json(service, "undeploy", "--model", name, exit_code=FAILED)["code"] == "deployment_not_found"
