"""Hosts of XGBoost and LightGBM: forked with the library in them, and with no more threads than they are allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from sklearn.datasets import load_diabetes

from registry import runtimes
from tests.workers.hosts.conftest import Hosts
from workers.hosts.worker_side.host import LoadRequest
from workers.hosts.worker_side.launcher import HostLauncher

xgboost: Any = pytest.importorskip("xgboost")
lightgbm: Any = pytest.importorskip("lightgbm")
ROWS, TARGET = load_diabetes(return_X_y=True)
#: So many that the libraries share them among threads.
MANY = np.tile(ROWS, (8, 1))
FITTED = {
    "xgboost": lambda: xgboost.XGBRegressor(n_estimators=20, n_jobs=1).fit(ROWS, TARGET),
    # The number of threads of the fit is in the file.
    "lightgbm": lambda: lightgbm.LGBMRegressor(n_estimators=20, n_jobs=8, verbose=-1).fit(ROWS, TARGET),
}


@pytest.fixture(params=[1, 3])
def threads_and_hosts(
    request: pytest.FixtureRequest, runner: asyncio.Runner, tmp_path: Path
) -> Iterator[tuple[int, Hosts]]:
    launcher = HostLauncher(threads=request.param)
    hosts = Hosts(runner, launcher, tmp_path)
    yield request.param, hosts
    hosts.stop()
    launcher.close()


@pytest.mark.slow
@pytest.mark.parametrize("library", FITTED)
def test_hosts_have_the_library_from_the_start_and_keep_to_their_threads(
    threads_and_hosts: tuple[int, Hosts], library: str, tmp_path: Path
) -> None:
    threads, hosts = threads_and_hosts
    fitted = FITTED[library]()
    (tmp_path / "artifact").write_bytes(runtimes.get(library).dump(fitted))
    signature = {"kind": "vector", "dtype": "float", "shape": [10]}
    load = LoadRequest(str(tmp_path / "artifact"), library, {}, signature, ROWS[0].tolist())
    for _ in range(2):  # both are forks of one process
        host = hosts.spawn(runtime=library)
        hosts.run(host.load(load, 60))
        assert hosts.predict(host, MANY.tolist(), len(MANY)).outputs == fitted.predict(MANY).tolist()
        assert psutil.Process(host.pid).num_threads() <= threads
    forkserver = psutil.Process(psutil.Process(host.pid).ppid())
    assert library in {Path(each.path).parent.parent.name for each in forkserver.memory_maps()}
