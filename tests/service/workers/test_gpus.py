"""Deployments that ask for a GPU, on workers whose nvidia-smi is a program of the tests'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.service.conftest import StartWorker
from tests.support.gpus.nvidia_smi import NAME, FakeNvidiaSmi
from tests.support.models import Cuda
from tests.support.service.stack import Stack, Worker
from tests.support.waiting import eventually

MEBIBYTE = 1 << 20
FEW = {"QUEUECAST_RECONCILE_INTERVAL_S": "0.3"}


@pytest.fixture
def smi(tmp_path: Path) -> FakeNvidiaSmi:
    """Two GPUs."""
    return FakeNvidiaSmi(tmp_path / "bin", 24_000, 24_000)


@pytest.fixture
def gpu_worker(group_worker: StartWorker, smi: FakeNvidiaSmi) -> Worker:
    return group_worker("gpu", PATH=smi.path, **FEW)


@pytest.fixture
def model(service: Stack, name: str) -> str:
    service.register(name, Cuda())
    return name


def shown(service: Stack, worker: Worker) -> list[dict[str, Any]]:
    """The GPUs of a worker, as the API shows them."""
    workers = service.api.get("/deployments").json()["workers"]
    [found] = [each["gpus"] for each in workers if each["worker"] == worker.node_name]
    return list(found)


def shares(service: Stack, worker: Worker) -> list[float]:
    return [each["share"] for each in shown(service, worker)]


def answer(service: Stack, endpoint_name: str) -> Any:
    return service.predict(endpoint_name, "a")["prediction"]


@pytest.mark.long
def test_a_host_sees_its_gpu_alone_from_its_first_import_on_and_others_see_none(
    service: Stack, model: str, gpu_worker: Worker, smi: FakeNvidiaSmi
) -> None:
    for part, share in (("-half", 0.5), ("-whole", 1), ("-none", 0)):
        service.deploy(model, endpoint_name=model + part, worker_group=model, gpu=share)
    assert answer(service, f"{model}-half") == ["0", "0"]
    assert answer(service, f"{model}-whole") == ["1", "1"]
    assert answer(service, f"{model}-none") == ["", ""]
    [half] = service.view(f"{model}-half")["workers"]
    assert half["gpus"] == ["0"]
    # What nvidia-smi shows of its process is remembered, and shown.
    smi.use(0, {half["pids"][0]: 9_000}, other_mib=500)
    eventually(lambda: shown(service, gpu_worker)[0]["used_bytes"] == 9_500 * MEBIBYTE, 30, message="it is measured")
    first, second = shown(service, gpu_worker)
    assert (first["id"], first["name"], first["share"]) == ("0", NAME, 0.5)
    assert first["memory_bytes"] == 24_000 * MEBIBYTE
    assert second["share"] == 1.0
    table = service.queuecast("deployments").stdout
    assert f"0 ({NAME})" in table
    assert "0.5 of 1" in table


@pytest.mark.long
def test_workers_without_a_gpu_leave_it_to_those_that_have_one_and_say_so_when_none_is_there(
    service: Stack, model: str, group_worker: StartWorker, smi: FakeNvidiaSmi
) -> None:
    group_worker("plain", **FEW)
    service.deploy(model, endpoint_name=model, worker_group=model, gpu=1, wait_s=0)
    failed = service.wait_for_status(model, "failed")
    assert "No live worker of the group has a GPU" in failed["load_error"]
    on_demand = f"{model}-on-demand"
    service.deploy(
        model, endpoint_name=on_demand, worker_group=model, gpu=0.5, wait_s=0, hosts={"min": 0, "max": 1}, idle_s=600.0
    )
    assert "No live worker" in service.wait_for_status(on_demand, "failed")["load_error"]
    with_gpu = group_worker("gpu", PATH=smi.path, **FEW)
    for endpoint in (model, on_demand):
        view = service.wait_for_status(endpoint, "active")
        states = {each["worker"]: each["state"] for each in view["workers"]}
        assert states.pop(with_gpu.node_name) == "ready"
        assert set(states.values()) == {"not placed"}
    assert [answer(service, each)[0] for each in (model, on_demand)] in (["0", "1"], ["1", "0"])


def test_hosts_without_room_wait_and_say_for_what_and_idle_ones_end_for_them(
    service: Stack, model: str, gpu_worker: Worker
) -> None:
    first, second, third = (f"{model}-{letter}" for letter in "abc")
    service.deploy(model, endpoint_name=first, worker_group=model, gpu=1)
    service.deploy(model, endpoint_name=second, worker_group=model, gpu=0.75, hosts={"min": 0, "max": 1}, idle_s=600.0)
    assert shares(service, gpu_worker) == [1.0, 0.75]
    # The idle one ends for the next.
    service.deploy(model, endpoint_name=third, worker_group=model, gpu=0.5)
    service.wait_for_status(second, "asleep")
    eventually(lambda: shares(service, gpu_worker) == [1.0, 0.5], 20, message="the share is free")
    job = service.submit(second, "a")
    waiting = service.wait_for_status(second, "loading")
    eventually(lambda: "waits for a GPU" in (service.view(second)["reason"] or ""), 20, message="it says what for")
    assert "needs a share of 0.75" in service.view(second)["reason"], waiting
    service.undeploy(third)
    [outcome] = service.outcomes([job])
    assert outcome["prediction"][0] == "1"


def test_a_version_with_a_whole_gpu_is_replaced_on_it(
    service: Stack, model: str, group_worker: StartWorker, tmp_path: Path
) -> None:
    only = FakeNvidiaSmi(tmp_path / "only", 24_000)
    worker = group_worker("gpu", PATH=only.path, **FEW)
    service.register(model, Cuda())
    for version in "12":
        service.deploy(model, version=version, endpoint_name=model, worker_group=model, gpu=1)
        assert answer(service, model) == ["0", "0"]
    assert service.view(model)["version"] == "2"
    eventually(lambda: shares(service, worker) == [1.0], 20, message="the host of before has ended")
    service.deploy(model, endpoint_name=model, worker_group=model, gpu=0)
    assert answer(service, model) == ["", ""]
    eventually(lambda: shares(service, worker) == [0.0], 20, message="the GPU is free")


def test_a_worker_whose_setting_names_a_gpu_that_is_not_there_does_not_start(
    service: Stack, group_worker: StartWorker, smi: FakeNvidiaSmi
) -> None:
    worker = group_worker("gpu", wait=False, PATH=smi.path, QUEUECAST_GPUS="7")
    worker.wait()
    assert "QUEUECAST_GPUS='7': there is no GPU 7; nvidia-smi shows 0" in worker.log()
