"""`queuecast web`, `worker`, …: the processes of the service as its users start them."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import httpx

from tests.support.models import Echo
from tests.support.service.ports import free_port
from tests.support.service.processes import Child
from tests.support.service.stack import Stack
from tests.support.waiting import eventually


def queuecast(*words: str) -> list[str]:
    return [sys.executable, "-m", "queuecast", *words]


def test_a_worker_has_the_group_and_the_options_that_it_is_given_after_its_own(
    service: Stack, name: str, tmp_path: Path
) -> None:
    service.register(name, Echo("1"))
    command = queuecast("worker", "--group", name, "--hostname", f"{name}@%h", "--loglevel=WARNING")
    with Child(command, env=service.env, log_path=tmp_path / "worker.log") as worker:
        service.deploy(name, endpoint_name=name, worker_group=name)
        assert service.predict(name, "x")["worker"] == f"{name}@{socket.gethostname()}"
        # The process is the worker itself, and `inspect` finds it by the package's name.
        ping = ["-m", "celery", "-A", "queuecast", "inspect", "ping", "-d"]
        ping = [sys.executable, *ping, f"{name}@{socket.gethostname()}"]
        assert "pong" in subprocess.check_output(ping, env=service.env, cwd=tmp_path, text=True)
        assert worker.terminate() == 0
        assert "INFO" not in worker.log()


def test_a_worker_is_named_after_its_process_unless_it_is_told_a_name(
    service: Stack, name: str, tmp_path: Path
) -> None:
    with Child(queuecast("worker", "--group", name), env=service.env, log_path=tmp_path / "worker.log") as worker:
        log = worker.wait_for_log(" ready.", 30)
    assert f"worker-{worker.pid}@{socket.gethostname()} ready." in log


def test_the_api_listens_where_its_options_say(service: Stack, tmp_path: Path) -> None:
    port = free_port()
    with Child(queuecast("web", "--port", str(port)), env=service.env, log_path=tmp_path / "web.log") as web:
        url = f"http://127.0.0.1:{port}/health/live"
        eventually(lambda: web.running and _answers(url), 30, message="the API answers on its own port")
        assert web.terminate() == 0


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_a_file_beside_the_caller_stands_in_for_no_library(service: Stack, name: str, tmp_path: Path) -> None:
    for module in ("celery.py", "redis.py", "flask.py"):
        (tmp_path / module).write_text("raise RuntimeError('this file is of another program')\n")
    command = [str(Path(sys.executable).with_name("queuecast")), "worker", "--group", name]
    with Child(command, env=service.env, log_path=tmp_path / "worker.log", cwd=tmp_path) as worker:
        worker.wait_for_log(" ready.", 30)
        assert worker.terminate() == 0


def test_the_background_process_starts_by_the_name_that_it_had(service: Stack, tmp_path: Path) -> None:
    with Child(queuecast("notifier"), env=service.env, log_path=tmp_path / "background.log") as background:
        assert f"background-{background.pid}@" in background.wait_for_log(" ready.", 30)
        assert background.terminate() == 0


def test_celerys_own_options_are_listed_after_two_dashes() -> None:
    for command in ("worker", "background"):
        listed = subprocess.check_output(queuecast(command, "--", "--help"), text=True)
        assert listed.startswith(f"Usage: queuecast {command} -- ")
        assert "--prefetch-multiplier" in listed


def test_a_wrong_option_ends_the_worker_with_its_name(service: Stack, tmp_path: Path) -> None:
    command = queuecast("worker", "--no-such-option")
    done = subprocess.run(command, env=service.env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--no-such-option" in done.stderr
