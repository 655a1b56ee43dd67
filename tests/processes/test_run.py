"""`queuecast run`: it starts, says where to look, answers, and leaves nothing behind."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.environment import REPOSITORY, clean_environment
from tests.support.ports import free_port
from tests.support.processes import Child, living
from tests.support.waiting import eventually

START_TIMEOUT_S = 90.0


def environment(folder: Path) -> dict[str, str]:
    ports = {f"QUEUECAST_{name}": str(free_port()) for name in ("PORT", "FLOWER_PORT", "REDIS_PORT")}
    return clean_environment(QUEUECAST_DATA_DIR=str(folder / "data"), NO_COLOR="1", **ports)


def running(folder: Path, env: dict[str, str], *options: str) -> Child:
    return Child(["python", "-m", "api.cli", "run", *options], env=env, log_path=folder / "run.log")


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
def test_it_starts_prints_calls_that_work_and_leaves_no_process(tmp_path: Path) -> None:
    env = environment(tmp_path)
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

        family = child.descendants()
        child.send(signal.SIGINT)
        assert child.wait() == 0
        assert living(family) == []
        assert "Stopped." in child.log()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif("sys.platform != 'linux'")
def test_what_it_knew_is_there_after_a_kill_which_leaves_no_process_either(tmp_path: Path) -> None:
    env = environment(tmp_path)
    with running(tmp_path, env) as child:
        child.wait_for_log("Three ways to use it", START_TIMEOUT_S)
        api = f"http://127.0.0.1:{env['QUEUECAST_PORT']}"
        first = predict(api)
        # The append-only file reaches the disk once a second.
        eventually(lambda: first["job_id"].encode() in redis_data(tmp_path), 5)
        family = child.descendants()
        child.kill()
        eventually(lambda: not living(family), 30, message="nothing is left of a killed `queuecast run`")
    with running(tmp_path, env) as child:
        child.wait_for_log("Three ways to use it", START_TIMEOUT_S)
        assert httpx.get(f"{api}/jobs/{first['job_id']}").json()["outcome"]["prediction"] == first["prediction"]
        models = httpx.get(f"{api}/models").json()
        assert "binary_classifier" in str(models)
        assert predict(api)["prediction"] == first["prediction"]
        child.terminate()


def predict(api: str) -> dict[str, Any]:
    url, body = f"{api}/predict/quadratic_predictor-v1", {"input": 2.5}
    answer = httpx.post(url, json=body, headers={"Prefer": "wait=20"}, timeout=30)
    document: dict[str, Any] = answer.json()
    return document


def flower_states(url: str) -> list[str]:
    return [task["state"] for task in httpx.get(f"{url}/api/tasks").json().values()]


def redis_data(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in (folder / "data" / "redis" / "appendonlydir").iterdir())
