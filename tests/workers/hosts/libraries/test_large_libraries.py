"""Hosts of large libraries: they predict as the library does, and keep to their threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from sklearn.datasets import load_diabetes

from registry import runtimes
from tests.workers.hosts.conftest import Hosts
from workers.hosts.worker_side.host import LoadRequest

ROWS, TARGET = load_diabetes(return_X_y=True)
MANY = np.tile(ROWS, (8, 1))
VECTOR = {"kind": "vector", "dtype": "float", "shape": [10]}


@pytest.mark.catboost
def test_hosts_of_catboost_predict_with_one_thread_beside_the_librarys_own(own_hosts: Hosts, tmp_path: Path) -> None:
    catboost: Any = pytest.importorskip("catboost")
    fitted = catboost.CatBoostRegressor(iterations=20, verbose=False, allow_writing_files=False).fit(ROWS, TARGET)
    (tmp_path / "artifact").write_bytes(runtimes.get("catboost").dump(fitted))
    load = LoadRequest(str(tmp_path / "artifact"), "catboost", {}, VECTOR, ROWS[0].tolist())
    for _ in range(2):
        host = own_hosts.spawn(runtime="catboost")
        own_hosts.run(host.load(load, 60))
        assert own_hosts.predict(host, MANY.tolist(), len(MANY)).outputs == fitted.predict(MANY).tolist()
        assert psutil.Process(host.pid).num_threads() <= 2
    forkserver = psutil.Process(psutil.Process(host.pid).ppid())
    assert not any("catboost" in each.path for each in forkserver.memory_maps())


@pytest.mark.torch
def test_hosts_of_pytorch_have_it_from_the_start_and_predict_with_one_thread(own_hosts: Hosts, tmp_path: Path) -> None:
    torch: Any = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(10, 256), torch.nn.ReLU(), torch.nn.Linear(256, 1)).eval()
    batch = {0: torch.export.Dim.DYNAMIC}
    program = torch.export.export(module, (torch.zeros(2, 10),), dynamic_shapes=(batch,))
    (tmp_path / "artifact").write_bytes(runtimes.get("torch").dump(program))
    load = LoadRequest(str(tmp_path / "artifact"), "torch", {}, VECTOR, ROWS[0].tolist())
    with torch.inference_mode():
        expected = module(torch.from_numpy(MANY.astype("float32"))).numpy()
    for _ in range(2):
        host = own_hosts.spawn(runtime="torch")
        own_hosts.run(host.load(load, 60))
        assert np.allclose(own_hosts.predict(host, MANY.tolist(), len(MANY)).outputs, expected, rtol=0, atol=1e-6)
        assert psutil.Process(host.pid).num_threads() == 1
    forkserver = psutil.Process(psutil.Process(host.pid).ppid())
    assert any("torch" in each.path for each in forkserver.memory_maps())
