"""`queuecast run`: it starts, says where to look, answers, and leaves nothing behind."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.open_paths import mode_of, open_paths
from tests.support.service.environment import REPOSITORY, clean_environment
from tests.support.service.ports import free_port
from tests.support.service.processes import Child, living
from tests.support.waiting import eventually

START_TIMEOUT_S = 90.0


def environment(folder: Path) -> dict[str, str]:
    ports = {f"QUEUECAST_{name}": str(free_port()) for name in ("PORT", "FLOWER_PORT", "REDIS_PORT")}
    return clean_environment(QUEUECAST_DATA_DIR=str(folder / "data"), NO_COLOR="1", **ports)


def running(folder: Path, env: dict[str, str], *options: str) -> Child:
    return Child(["python", "-m", "api.cli", "run", *options], env=env, log_path=folder / "run.log")


@pytest.mark.slow
def test_taken_ports_are_named_with_their_variables_before_anything_starts(tmp_path: Path) -> None:
    env = environment(tmp_path)
    with (
        socket.create_server(("127.0.0.1", int(env["QUEUECAST_PORT"]))),
        socket.create_server(("127.0.0.1", int(env["QUEUECAST_REDIS_PORT"]))),
        running(tmp_path, env) as child,
    ):
        assert child.wait() == 1
        log = child.log()
    for name in ("PORT", "REDIS_PORT"):
        assert re.search(rf"Port {env['QUEUECAST_' + name]}, .* QUEUECAST_{name} chooses another", log), log
    assert "FLOWER" not in log
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_a_step_that_fails_shows_its_log_and_stops_the_rest(tmp_path: Path) -> None:
    env = environment(tmp_path) | {"DATABASE_URL": "nonsense://"}
    with running(tmp_path, env) as child:
        assert child.wait() == 1
        assert "migrate failed" in child.log()
        assert child.descendants() == []


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_it_starts_prints_calls_that_work_leaves_no_process_and_knows_after_a_kill_what_it_knew(tmp_path: Path) -> None:
    env = environment(tmp_path)
    api = f"http://127.0.0.1:{env['QUEUECAST_PORT']}"
    with running(tmp_path, env) as child:
        log = child.wait_for_log("Three ways to use it", START_TIMEOUT_S)
        assert "binary_classifier-v1 (active), quadratic_predictor-v1 (active)" in log
        log = child.wait_for_log("/api/tasks", 5)
        for start in ("  curl ", f"  QUEUECAST_REDIS_URL=redis://127.0.0.1:{env['QUEUECAST_REDIS_PORT']}/0 "):
            [call] = [line for line in log.splitlines() if line.startswith(start)]
            assert "prediction" in subprocess.check_output(call, shell=True, cwd=REPOSITORY, env=env, text=True)

        flower = f"http://127.0.0.1:{env['QUEUECAST_FLOWER_PORT']}"
        eventually(lambda: flower_states(flower) == ["SUCCESS", "SUCCESS"], 20, message="Flower shows both jobs")
        assert httpx.post(f"{flower}/api/worker/shutdown/worker").status_code == 403

        first = predict(api)
        # The append-only file reaches the disk once a second.
        eventually(lambda: first["job_id"].encode() in redis_data(tmp_path), 5)
        family = child.descendants()
        if sys.platform == "linux":
            child.kill()
            eventually(lambda: not living(family), 30, message="nothing is left of a killed `queuecast run`")
        else:
            child.terminate()
    assert mode_of(tmp_path / "data") == 0o700
    for path in (tmp_path / "data").iterdir():
        assert open_paths(path) == [], "closed also where the data folder itself is open"
    open_to_others(tmp_path / "data")
    with running(tmp_path, env) as child:
        child.wait_for_log("Three ways to use it", START_TIMEOUT_S)
        assert [path for each in (tmp_path / "data").iterdir() for path in open_paths(each)] == []
        assert httpx.get(f"{api}/jobs/{first['job_id']}").json()["outcome"]["prediction"] == first["prediction"]
        models = httpx.get(f"{api}/models").json()
        assert "binary_classifier" in str(models)
        assert predict(api)["prediction"] == first["prediction"]

        family = child.descendants()
        child.send(signal.SIGINT)
        assert child.wait() == 0
        assert living(family) == []
        assert "Stopped." in child.log()


def open_to_others(data: Path) -> None:
    """Give files and folders the rights that earlier releases gave them."""
    folders = [data / name for name in ("redis", "artifacts")]
    paths = [data, *data.glob("registry.db*"), *folders, *(path for folder in folders for path in folder.rglob("*"))]
    for path in paths:
        path.chmod(mode_of(path) | (0o055 if path.is_dir() else 0o044))


def predict(api: str) -> dict[str, Any]:
    url, body = f"{api}/predict/quadratic_predictor-v1", {"input": 2.5}
    answer = httpx.post(url, json=body, headers={"Prefer": "wait=20"}, timeout=30)
    document: dict[str, Any] = answer.json()
    return document


def flower_states(url: str) -> list[str]:
    return [task["state"] for task in httpx.get(f"{url}/api/tasks").json().values()]


def redis_data(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in (folder / "data" / "redis" / "appendonlydir").iterdir())
