"""The wheel in an environment of its own: what `pip install queuecast` brings, and all that runs from it."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from distributions import build_client
from distributions.checking import refuse_wrong
from tests.packaging.conftest import Installed, build
from tests.support.environments.interpreters import others
from tests.support.models import Echo, Labels
from tests.support.service.environment import REPOSITORY
from tests.support.service.ports import free_port
from tests.support.service.processes import Child, living
from tests.support.service.stack import Stack, Worker
from tests.support.waiting import eventually
from workers import keys
from workers.platform.redis.client import connect

pytestmark = pytest.mark.slow

START_TIMEOUT_S = 90.0
#: An application with packages of the names that a clone of Queuecast has at its top.
APPLICATION = {
    "api/__init__.py": "MINE = 'api'",
    "workers/__init__.py": "MINE = 'workers'",
    "workers/app.py": "from celery import Celery\napp = Celery('mine')",
    "workers/errors.py": "class JobFailed(Exception): pass\nclass PredictionFailed(Exception): pass",
    "registry/__init__.py": "MINE = 'registry'",
    "registry/scaling.py": "def scaled(x):\n    if x < 0: raise ValueError('negative')\n    return 2 * x",
    "program.py": """
import json, sys
import api, registry, workers, workers.app, workers.errors
from registry.scaling import scaled
from queuecast import Client, errors, predict, register

found = {"version": register("scaling", scaled, input_example=1.5).version}
with Client() as client:
    client.deploy("scaling", endpoint_name="scaling")
    found["over http"] = client.predict("scaling", 21)
found["by celery"] = predict.delay("scaling", 4).get(timeout=30)["prediction"]
try:
    predict.delay("scaling", -1).get(timeout=30)
except workers.errors.JobFailed:
    found["error"] = "its own"
except errors.PredictionFailed as failed:
    found["error"] = f"{type(failed).__module__}: {failed}"
found["mine"] = [each.MINE for each in (api, workers, registry)]
found["modules"] = [name for name in sys.modules if name.partition(".")[0] in ("api", "workers", "registry")]
print(json.dumps(found))
""",
}


def test_it_has_every_file_of_the_packages_inside_of_one(wheel: Path) -> None:
    refuse_wrong(wheel)
    with zipfile.ZipFile(wheel) as archive:
        content = set(archive.namelist())
    expected = {
        f"queuecast/{path.relative_to(REPOSITORY)}"
        for package in ("api", "workers", "registry")
        for path in (REPOSITORY / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc" and not path.is_relative_to(REPOSITORY / "api" / "client")
    }
    assert expected - content == set()
    # The client is required, and comes with its own wheel.
    assert {name for name in content if name.startswith("queuecast/api/client/")} == set()
    with zipfile.ZipFile(wheel) as archive:
        [metadata] = [name for name in content if name.endswith("METADATA")]
        assert f"Requires-Dist: queuecast-client=={build_client.version()}" in archive.read(metadata).decode()


@pytest.mark.long
def test_the_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    sdist = build("sdist", REPOSITORY, tmp_path / "dist")
    assert build("sdist", REPOSITORY, tmp_path / "again").read_bytes() == sdist.read_bytes()
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [root] = tmp_path.glob("queuecast-*")
    again = build("wheel", root, tmp_path / "of-sdist")
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


class Service:
    """`queuecast run` of an installed package, in an empty folder."""

    def __init__(self, installed: Installed, folder: Path) -> None:
        ports = {f"QUEUECAST_{name}": str(free_port()) for name in ("PORT", "FLOWER_PORT", "REDIS_PORT")}
        self.url = f"http://127.0.0.1:{ports['QUEUECAST_PORT']}"
        redis_url = f"redis://127.0.0.1:{ports['QUEUECAST_REDIS_PORT']}/0"
        self.env = installed.environment(NO_COLOR="1", **ports)
        self.folder = folder / "empty"
        self.folder.mkdir()
        log = folder / "run.log"
        self.process = Child([installed.queuecast, "run"], env=self.env, log_path=log, cwd=self.folder)
        #: What programs beside it need.
        self.of_programs = {
            **self.env, "QUEUECAST_REDIS_URL": redis_url, "QUEUECAST_DATA_DIR": str(self.folder / "data")
        }  # fmt: skip


@pytest.fixture(scope="module")
def service(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(installed, tmp_path_factory.mktemp("installed-service"))
    with running.process:
        running.process.wait_for_log("Three ways to use it", START_TIMEOUT_S)
        yield running


def test_in_an_empty_folder_everything_runs_and_predicts(service: Service) -> None:
    assert "binary_classifier-v1 (active), quadratic_predictor-v1 (active)" in service.process.log()
    assert sorted(path.name for path in service.folder.iterdir()) == ["data"]
    for endpoint_name, row in (("quadratic_predictor-v1", 2.5), ("binary_classifier-v1", [0.5, 0.8, 0.2])):
        answer = httpx.post(
            f"{service.url}/predict/{endpoint_name}", json={"input": row}, headers={"Prefer": "wait=20"}, timeout=30
        )
        assert answer.status_code == 200, answer.text
    for path in ("/console/static/console.css", "/docs", "/openapi.json", "/metrics", "/health/ready"):
        assert httpx.get(f"{service.url}{path}", follow_redirects=True).status_code == 200, path


def test_an_application_with_packages_of_the_same_names_sends_jobs(
    service: Service, installed: Installed, tmp_path: Path
) -> None:
    for name, source in APPLICATION.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(source + "\n")
    env = {**service.of_programs, "QUEUECAST_URL": service.url}
    found = json.loads(installed.run("program.py", cwd=tmp_path, env=env))
    assert found.pop("modules") == ["api", "registry", "workers", "workers.app", "workers.errors", "registry.scaling"]
    assert found == {
        "version": "1",
        "over http": 42,
        "by celery": 8,
        "error": "queuecast.workers.errors: ValueError: negative",
        "mine": ["api", "workers", "registry"],
    }


def test_the_app_has_its_own_folder_and_no_templates_of_others(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "__init__.py").touch()
    code = "from queuecast.api.app import create_app; print(create_app().root_path)"
    said = installed.run("-c", code, cwd=tmp_path, env=installed.environment(QUEUECAST_DATA_DIR=str(tmp_path)))
    assert said.strip() == str(installed.packages / "queuecast" / "api")


def test_a_copy_of_a_clone_beside_it_is_refused(installed: Installed, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "registry", tmp_path / "registry", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "workers", tmp_path / "workers", ignore=shutil.ignore_patterns("__pycache__"))
    code = "import queuecast.workers.app\ntry:\n    import workers.app\nexcept ImportError as error:\n    print(error)"
    said = installed.run("-c", code, cwd=tmp_path)
    assert f"{tmp_path}/workers/app.py is a second copy of {installed.packages}" in said


#: What a host runs with the Python of an environment: it has the package, and nothing that is installed beside it.
HOST = """
import queuecast.workers.hosts.host_side.forkserver, queuecast.registry.hosting.trial_process
for name in ("pydantic", "numpy", "celery", "workers", "registry"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemExit(f"it finds {name}")
print(queuecast.__file__)
"""
START_HOST = """
import subprocess, sys
from queuecast.registry.hosting import own_packages
python, host = sys.argv[1:]
program = own_packages.import_from_argument("fd") + host
print(subprocess.check_output([python, "-I", "-S", "-c", program, own_packages.PLACE, "3"], text=True))
"""


def test_a_host_with_libraries_of_its_own_finds_the_package_and_nothing_beside_it(
    installed: Installed, tmp_path: Path
) -> None:
    for python in (sys.executable, *others().values()):
        assert installed.run("-c", START_HOST, python, HOST, cwd=tmp_path).startswith(str(installed.packages)), python


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A service of this repository, without workers."""
    with Stack(tmp_path_factory.mktemp("clone")) as running:
        yield running


@pytest.mark.long
def test_an_installed_worker_serves_beside_an_api_of_a_clone(
    clone: Stack, installed: Installed, tmp_path: Path
) -> None:
    clone.register_examples()
    clone.register("echo", Echo("1"))
    clone.register("failing", Labels(raises=(3,)), input_example=1)
    env = installed.environment(**{**ours(clone), "QUEUECAST_WORKER_GROUP": "installed"})
    command = f"{installed.queuecast} worker"
    with Worker("installed", command, env=env, log_path=tmp_path / "worker.log", cwd=tmp_path) as worker:
        for name in ("quadratic_predictor", "echo", "failing"):
            clone.deploy(name, endpoint_name=f"{name}-there", worker_group="installed")
        assert clone.predict("echo-there", "x")["worker"] == worker.node_name
        # Its class is one of the clone's own modules, by the name that it has there.
        assert clone.predict("quadratic_predictor-there", 2.5)["prediction"] == pytest.approx(0.68, abs=0.01)
        with connect(clone.redis.url) as store:
            record = store.get(keys.record(failed_job(clone, "failing-there", 3)))
    assert json.loads(record)["result"]["exc_module"] == "queuecast.errors"


@pytest.mark.long
def test_a_worker_of_a_clone_serves_beside_an_installed_api(clone: Stack, installed: Installed, tmp_path: Path) -> None:
    port = str(free_port())
    env = installed.environment(**{**ours(clone), "QUEUECAST_PORT": port})
    installed.run("-m", "queuecast", "registry", "examples", cwd=tmp_path, env=env)
    worker = clone.start_worker("of-clone", "of-clone")
    url = f"http://127.0.0.1:{port}"
    with Child([installed.queuecast, "web"], env=env, log_path=tmp_path / "web.log", cwd=tmp_path) as web:
        eventually(lambda: web.running and answers(url), START_TIMEOUT_S, message="the installed API answers")
        # The class of its model is `queuecast.registry.examples.…`.
        wanted = {"model_name": "quadratic_predictor", "endpoint_name": "here", "worker_group": "of-clone"}
        deployed = httpx.post(f"{url}/deployments/deploy", json=wanted, headers={"Prefer": "wait=60"}, timeout=70)
        assert deployed.status_code == 201, deployed.text
        answer = httpx.post(f"{url}/predict/here", json={"input": 2.5}, headers={"Prefer": "wait=20"}, timeout=30)
        assert answer.json()["worker"] == worker.node_name
        assert answer.json()["prediction"] == pytest.approx(0.68, abs=0.01)


def test_ctrl_c_leaves_no_process(service: Service) -> None:
    family = service.process.descendants()
    service.process.send(signal.SIGINT)
    assert service.process.wait() == 0
    assert living(family) == []


def ours(stack: Stack) -> dict[str, str]:
    return {name: value for name, value in stack.env.items() if name.startswith("QUEUECAST_") or name == "DATABASE_URL"}


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def failed_job(stack: Stack, endpoint_name: str, row: Any) -> str:
    job_id = str(stack.api.post(f"/predict/{endpoint_name}", json={"input": row}).json()["job_id"])
    assert stack.job(job_id)["status"] == "failed"
    return job_id
