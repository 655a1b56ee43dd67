"""MLServer with adaptive batching: a peer that answers each request itself, in an environment of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx

from bench.load_client import request
from bench.machine import REPOSITORY
from bench.models import FOREST, ONE_THREAD, QUADRATIC, model_of
from bench.systems.base import System, Unsupported
from tests.support.service.environment import clean_environment
from tests.support.service.ports import free_port
from tests.support.service.processes import Child
from tests.support.waiting import eventually

ENVIRONMENT = REPOSITORY / ".venv-mlserver"
_START_LIMIT_S = 60.0
_RUNTIMES = {"python": "bench.mlserver.runtime.Function", "sklearn": "mlserver_sklearn.SKLearnModel"}
#: Queuecast's default; a batch that isn't full waits so long for more.
_MAX_BATCH_SIZE, _MAX_BATCH_TIME_S = 64, 0.005


def is_installed() -> bool:
    """Tell whether `make mlserver` has made its environment."""
    return (ENVIRONMENT / ".installed").exists()


class MLServer(System):
    """The server with one inference process, as it starts by default.

    Args:
        folder: for settings and logs.
        pickles: where the models are.
        models: which of them it serves.
    """

    name = "mlserver"
    submit_status = 200

    def __init__(self, folder: Path, pickles: Path, models: Sequence[str] = (QUADRATIC, FOREST)) -> None:
        self.port = free_port()
        self._folder = folder
        self._models = models
        self._closing = ExitStack()
        self._write("settings", self._settings())
        for name in models:
            self._write(f"{name}/model-settings", _model_settings(name, pickles))

    def __enter__(self) -> Self:
        if not is_installed():
            raise Unsupported(f"it is not installed in {ENVIRONMENT.name} (`make mlserver`)")
        command = [str(ENVIRONMENT / "bin" / "mlserver"), "start", str(self._folder)]
        env = clean_environment(**ONE_THREAD, PYTHONPATH=str(REPOSITORY))
        log_path = self._folder / "mlserver.log"
        self._child = self._closing.enter_context(Child(command, env=env, log_path=log_path, cwd=self._folder))
        try:
            eventually(self._is_ready, _START_LIMIT_S, interval_s=0.1, message="MLServer is ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def processes(self) -> Mapping[str, tuple[int, bool]]:
        """The server, and its inference process with the helpers of it."""
        children = {f"host {each.pid}": (each.pid, False) for each in self._child.descendants()}
        return {"api": (self._child.pid, False), **children}

    def submit_request(self, model: str, rows: int | None = None) -> bytes:
        """Ask for predictions: there is no submit without its answer."""
        return self.wait_request(model, rows)

    def wait_request(self, model: str, rows: int | None = None) -> bytes:
        """The same inputs as the other systems', as one tensor."""
        row, count = model_of(model).row, rows or 1
        values = row if isinstance(row, list) else [row]
        tensor = {"name": "x", "shape": [count, len(values)], "datatype": "FP64", "data": values * count}
        body = json.dumps({"inputs": [tensor]}).encode()
        return request("POST", f"/v2/models/{model}/infer", body, Content_Type="application/json")

    def _is_ready(self) -> bool:
        if not self._child.running:
            raise RuntimeError(f"MLServer ended with {self._child.exit_code}:\n{self._child.log()}")
        paths = ["health/ready", *(f"models/{name}/ready" for name in self._models)]
        try:
            return all(httpx.get(f"http://127.0.0.1:{self.port}/v2/{path}").is_success for path in paths)
        except httpx.TransportError:
            return False

    def _settings(self) -> dict[str, Any]:
        return {
            "debug": False,  # no line in the log for each request
            "host": "127.0.0.1",
            "http_port": self.port,
            "grpc_port": free_port(),
            "metrics_port": free_port(),
        }

    def _write(self, name: str, settings: Mapping[str, Any]) -> None:
        path = self._folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings), encoding="utf-8")


def _model_settings(name: str, pickles: Path) -> dict[str, Any]:
    return {
        "name": name,
        "implementation": _RUNTIMES[model_of(name).runtime],
        "max_batch_size": _MAX_BATCH_SIZE,
        "max_batch_time": _MAX_BATCH_TIME_S,
        "parameters": {"uri": str(pickles / f"{name}.pickle")},
    }
