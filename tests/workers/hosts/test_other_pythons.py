"""Hosts of another Python, which has nothing but its standard library."""

from __future__ import annotations

import math
import operator
import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.environments import interpreters
from tests.workers.hosts.conftest import Hosts, Predicted
from workers.errors import HostStartFailed
from workers.hosts import frames
from workers.hosts.worker_side.host import LoadRequest, RemoteHost

#: The other Pythons that are here, the earliest first, and always this one without any library.
PYTHONS = ["bare", *sorted(interpreters.others(), key=lambda name: (len(name), name))]


@pytest.fixture(params=PYTHONS)
def python(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An interpreter in a fresh folder, without the worker's libraries."""
    base = interpreters.others().get(request.param, getattr(sys, "_base_executable", sys.executable))
    subprocess.run([base, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    return str(tmp_path / "venv" / "bin" / "python")


def start(hosts: Hosts, python: str, model: object, input_example: Any = None, **options: Any) -> RemoteHost:
    host: RemoteHost = hosts.run(hosts.launcher.spawn("python", None, python))
    hosts.run(host.load(hosts.request(model, input_example, **options), 60))
    return host


@pytest.mark.slow
def test_a_host_of_another_python_loads_predicts_and_fails_a_bad_row_alone(own_hosts: Hosts, python: str) -> None:
    host = start(own_hosts, python, math.sqrt, 16.0)
    assert psutil.Process(host.pid).exe() == str(Path(python).resolve())
    assert host.outputs == [{"name": "output", "dtype": "float", "shape": [], "keys": None, "as_json": False}]
    found = own_hosts.predict(host, [4.0, -1.0, 9.0])
    assert found.outputs == [2.0, None, 3.0]
    assert found.errors[1]["type"] == "ValueError"
    importing = start(own_hosts, python, import_module)
    missing = own_hosts.predict(importing, ["pydantic", "numpy", "msgspec", "sqlalchemy"])
    assert {error["type"] for error in missing.errors.values()} == {"ModuleNotFoundError"}
    assert len(missing.errors) == 4
    for each in (host, importing):
        own_hosts.run(each.stop())


@pytest.mark.slow
def test_a_host_of_another_python_takes_a_vectorized_model_and_refuses_what_is_not_json(
    own_hosts: Hosts, python: str
) -> None:
    host = start(own_hosts, python, sorted, vectorized=True)
    assert own_hosts.predict(host, [3.0, 1.0, 2.0]).outputs == [1.0, 2.0, 3.0]
    odd = start(own_hosts, python, partial(operator.add, math.inf))
    assert own_hosts.predict(odd, [1.0]).errors[0]["type"] == "OutputInvalid"
    for each in (host, odd):
        own_hosts.run(each.stop())


@pytest.mark.skipif(len(PYTHONS) == 1, reason="no other Python from 3.9 on is installed here")
def test_two_pythons_serve_beside_each_other(own_hosts: Hosts) -> None:
    other = next(iter(interpreters.others().values()))
    request = own_hosts.request(math.sqrt)

    async def spawned() -> list[RemoteHost]:
        hosts = [await own_hosts.launcher.spawn("python", None, each) for each in (None, other)]
        for host in hosts:
            await host.load(request, 60)
        return hosts

    hosts = own_hosts.run(spawned())
    assert [Predicted.of(own_hosts.run(host.predict([4.0], 64, 30))).outputs for host in hosts] == [[2.0], [2.0]]
    assert len({psutil.Process(host.pid).exe() for host in hosts}) == 2
    for each in hosts:
        own_hosts.run(each.stop())


@pytest.mark.slow
def test_a_package_that_an_environment_lacks_is_one_of_its_requirements(own_hosts: Hosts, tmp_path: Path) -> None:
    python = getattr(sys, "_base_executable", sys.executable)
    (tmp_path / "model").write_bytes(b"\x80\x04cabsent\ngreet\n.")
    request = LoadRequest(str(tmp_path / "model"), "python", {}, {"kind": "scalar", "dtype": "float"}, None)
    for place, remedy in ((python, "requirements of the version's environment"), (None, "where workers run")):
        host = own_hosts.run(own_hosts.launcher.spawn("python", None, place))
        with pytest.raises(HostStartFailed, match=f"No module named 'absent'.*{remedy}"):
            own_hosts.run(host.load(request, 60))
        own_hosts.run(host.stop())


@pytest.mark.slow
def test_a_forkserver_with_another_protocol_is_refused_by_name(
    own_hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "PROTOCOL", 0)
    with pytest.raises(
        HostStartFailed, match=r"\(Python 3\.\S+\) has protocol \d+ of model hosts, and this worker has 0"
    ):
        own_hosts.spawn()
    monkeypatch.undo()
    assert own_hosts.predict(own_hosts.start(math.sqrt), [4.0]).outputs == [2.0]
