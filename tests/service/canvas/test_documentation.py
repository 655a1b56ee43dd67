"""The guide's canvas runs as it is printed, beside a stock worker with the guide's tasks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.documentation import documented_file
from tests.support.service.environment import REPOSITORY
from tests.support.service.processes import Child
from tests.support.service.stack import Stack

_REDIS = re.compile(r"redis://[0-9.:]+/0")


def test_the_canvas_of_the_guide_prints_what_it_says(registered: Stack, tmp_path: Path) -> None:
    registered.deploy("quadratic_predictor")
    for file in ("shop.py", "canvas.py"):
        program = documented_file("celery.md", file)
        (tmp_path / file).write_text(_REDIS.sub(registered.redis.url, program))
    env = registered.env | {"PYTHONPATH": f"{REPOSITORY}:{tmp_path}"}
    worker = ["python", "-m", "celery", "-A", "shop", "worker", "--pool", "solo", "--loglevel", "INFO"]
    with Child(worker, env=env, log_path=registered.logs / "shop.log", cwd=tmp_path) as shop:
        shop.wait_for_log(" ready.")
        command = [sys.executable, "canvas.py"]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    wanted = re.findall(r"^# (.+)$", documented_file("celery.md", "canvas.py"), re.MULTILINE)[1:]
    assert done.stdout.splitlines() == wanted
