"""The forkserver and its hosts: started, replaced, refused, and gone with their worker."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import psutil
import pytest
from sklearn.linear_model import LinearRegression

from registry import runtimes
from tests.support.service.environment import clean_environment
from tests.support.service.processes import Child, no_more_files
from tests.support.waiting import eventually
from tests.workers.hosts import toys
from tests.workers.hosts.conftest import Hosts, Predicted
from workers.errors import HostStartFailed
from workers.hosts.worker_side import launcher as launcher_module
from workers.hosts.worker_side.host import HostGone, LoadRequest
from workers.hosts.worker_side.launcher import HostLauncher


def parent_of(pid: int) -> psutil.Process:
    parent = psutil.Process(pid).parent()
    assert parent is not None
    return parent


@pytest.mark.slow
def test_many_hosts_are_started_at_once(hosts: Hosts) -> None:
    request = hosts.request(toys.obey)

    async def pid_by_host(number: int) -> int:
        host = await hosts.launcher.spawn("python")
        try:
            await host.load(request, 60)
            answer = await host.predict([number, "process_id"], 64, 60)
            assert Predicted.of(answer).outputs == [2 * number, host.pid]
        finally:
            await host.stop()
        return host.pid

    async def all_of_them() -> list[int]:
        return await asyncio.gather(*(pid_by_host(number) for number in range(40)))

    pids = hosts.run(all_of_them())
    assert len(set(pids)) == 40
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def test_host_whose_start_was_given_up_ends(hosts: Hosts) -> None:
    forkserver = parent_of(hosts.start(toys.obey).pid)
    before = {each.pid for each in forkserver.children()}

    async def give_up() -> None:
        for pause_s in (0.0, 0.0, 0.001, 0.005, 0.01, 0.02):
            starting = asyncio.create_task(hosts.launcher.spawn("python"))
            await asyncio.sleep(pause_s)
            starting.cancel()
            try:
                await (await starting).stop()
            except asyncio.CancelledError:
                continue

    hosts.run(give_up())
    assert hosts.predict(hosts.start(toys.obey), [1]).outputs == [2]
    hosts.eventually(lambda: len({each.pid for each in forkserver.children()} - before) == 1)


@pytest.mark.slow
def test_forkserver_that_dies_takes_its_hosts_along_and_is_replaced(own_hosts: Hosts) -> None:
    idle, busy = own_hosts.start(toys.obey), own_hosts.start(toys.obey)
    started = own_hosts.predict(idle, ["fork_child_that_lives_on"]).outputs[0]
    old = parent_of(idle.pid)
    old.kill()
    with pytest.raises(HostGone, match="killed by SIGKILL"):
        own_hosts.predict(busy, ["hang"])
    own_hosts.eventually(idle.exited.done)
    for pid in (idle.pid, busy.pid, started):
        own_hosts.eventually(lambda pid=pid: not psutil.pid_exists(pid))  # type: ignore[misc]
    host = own_hosts.start(toys.obey)
    assert own_hosts.predict(host, [1]).outputs == [2]
    assert parent_of(host.pid).pid != old.pid


@pytest.mark.slow
def test_forkserver_whose_death_nobody_has_noticed_is_replaced_by_the_next_spawn(own_hosts: Hosts) -> None:
    forkserver = parent_of(own_hosts.start(toys.obey).pid)
    forkserver.kill()
    forkserver.wait()
    # The event loop has not run since.
    assert own_hosts.predict(own_hosts.start(toys.obey), [1]).outputs == [2]


@pytest.mark.slow
def test_hosts_with_other_libraries_have_another_forkserver_and_outlive_this_one(own_hosts: Hosts) -> None:
    plain, array = own_hosts.start(toys.obey), own_hosts.start(toys.obey, libraries_of="onnx")
    same = own_hosts.start(toys.obey, libraries_of="mlflow")  # also needs numpy alone
    assert parent_of(same.pid) == parent_of(array.pid) != parent_of(plain.pid)
    parent_of(array.pid).kill()
    own_hosts.eventually(lambda: array.exited.done() and same.exited.done())
    assert own_hosts.predict(plain, [1]).outputs == [2]
    assert own_hosts.predict(own_hosts.start(toys.obey, libraries_of="onnx"), [1]).outputs == [2]


@pytest.mark.slow
def test_forkserver_without_hosts_ends_after_a_while_and_is_replaced_when_needed(
    own_hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher_module, "_IDLE_S", 0.3)
    host, used = own_hosts.start(toys.obey), own_hosts.start(toys.obey, libraries_of="onnx")
    forkserver = parent_of(host.pid)
    assert forkserver.is_running()
    own_hosts.run(host.stop())
    own_hosts.eventually(lambda: not psutil.pid_exists(forkserver.pid))
    assert own_hosts.predict(used, [1]).outputs == [2]
    assert own_hosts.predict(own_hosts.start(toys.obey), [1]).outputs == [2]


@pytest.mark.slow
@pytest.mark.parametrize("dies", [False, True])
def test_spare_forkserver_becomes_the_one_of_the_first_hosts(own_hosts: Hosts, dies: bool) -> None:
    async def start() -> set[int]:
        before = {each.pid for each in psutil.Process().children()}
        own_hosts.launcher.start_spare()
        return {each.pid for each in psutil.Process().children()} - before

    [spare] = own_hosts.run(start())
    if dies:
        os.kill(spare, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(spare)], 10) if psutil.pid_exists(spare) else None
    host = own_hosts.start(toys.obey, libraries_of="onnx")
    assert own_hosts.predict(host, [1]).outputs == [2]
    assert (parent_of(host.pid).pid == spare) is not dies
    assert parent_of(own_hosts.start(toys.obey).pid).pid != spare


@pytest.mark.parametrize("ends_first", [True, False], ids=["before it is asked", "at any time"])
def test_forkserver_that_can_not_be_started_is_a_clear_failure(
    own_hosts: Hosts, monkeypatch: pytest.MonkeyPatch, ends_first: bool
) -> None:
    start = launcher_module._Forkserver._start_process

    def started(self: launcher_module._Forkserver, *about: Any) -> subprocess.Popen[bytes]:
        process = start(self, *about)
        if ends_first:
            process.wait(30)
        return process

    monkeypatch.setattr(launcher_module._Forkserver, "_start_process", started)
    monkeypatch.setattr(launcher_module, "_PROGRAM", "raise SystemExit(1)")
    with pytest.raises(HostStartFailed, match=r"Starting a model host failed: the forkserver has exited\."):
        own_hosts.spawn()


@pytest.mark.slow
def test_forkserver_that_hangs_is_killed_and_replaced(own_hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    host = own_hosts.start(toys.obey)
    forkserver = parent_of(host.pid)
    forkserver.suspend()
    monkeypatch.setattr(launcher_module, "_SPAWN_TIMEOUT_S", 0.3)
    with pytest.raises(HostStartFailed, match="did not reply within"):
        own_hosts.spawn()
    own_hosts.eventually(host.exited.done)
    monkeypatch.undo()
    assert own_hosts.predict(own_hosts.start(toys.obey), [1]).outputs == [2]
    own_hosts.eventually(lambda: not psutil.pid_exists(host.pid))


def test_host_that_the_system_refuses_hurts_no_other(hosts: Hosts) -> None:
    host = hosts.start(toys.obey)
    with (
        no_more_files(parent_of(host.pid)),
        pytest.raises(HostStartFailed, match=r"Starting a model host failed: Too many open files\."),
    ):
        hosts.spawn()
    assert hosts.predict(host, [1]).outputs == [2]
    assert hosts.predict(hosts.start(toys.obey), [1]).outputs == [2]


def test_closing_ends_everything_and_starts_nothing_more(own_hosts: Hosts) -> None:
    host = own_hosts.start(toys.obey)
    daemon = own_hosts.predict(host, ["start_daemon"]).outputs[0]
    forkserver = parent_of(host.pid)
    own_hosts.launcher.close()
    assert not [pid for pid in (host.pid, daemon, forkserver.pid) if psutil.pid_exists(pid)]
    own_hosts.eventually(host.exited.done)
    with pytest.raises(HostStartFailed, match="The worker is stopping"):
        own_hosts.spawn()


@pytest.mark.slow
def test_closing_from_another_thread_while_hosts_are_started_leaves_none(own_hosts: Hosts) -> None:
    forkserver = parent_of(own_hosts.start(toys.obey).pid)

    async def close_meanwhile() -> list[object]:
        starting = [asyncio.create_task(own_hosts.launcher.spawn("python")) for _ in range(10)]
        await asyncio.sleep(0)
        await asyncio.to_thread(own_hosts.launcher.close)
        return await asyncio.gather(*starting, return_exceptions=True)

    for found in own_hosts.run(close_meanwhile()):
        if isinstance(found, BaseException):
            assert isinstance(found, HostStartFailed)
        else:
            own_hosts.eventually(found.exited.done)  # type: ignore[attr-defined]
    assert not psutil.pid_exists(forkserver.pid)


async def test_launcher_that_started_nothing_can_be_closed() -> None:
    HostLauncher(1).close()


@pytest.fixture
def lone_worker(tmp_path: Path) -> Iterator[Child]:
    path = tmp_path / "model"
    path.write_bytes(runtimes.get("python").dump(toys.obey))
    command = ["python", "-m", "tests.workers.hosts.lone_worker", str(path)]
    with Child(command, env=clean_environment(), log_path=tmp_path / "log") as child:
        yield child


def family_of(worker: Child) -> list[psutil.Process]:
    words = worker.wait_for_log("ready", 60).split("ready", 1)[1].split()
    hosts_and_theirs = [psutil.Process(int(word)) for word in words[:6]]
    forkserver = parent_of(hosts_and_theirs[0].pid)
    assert forkserver.ppid() == worker.pid
    return [forkserver, *hosts_and_theirs]


def none_left(processes: list[psutil.Process]) -> bool:
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)


@pytest.mark.slow
def test_killed_worker_leaves_no_host_no_forkserver_and_nothing_that_models_started(lone_worker: Child) -> None:
    family = family_of(lone_worker)
    family[3].suspend()  # a host that can't notice anything
    lone_worker.kill()
    eventually(lambda: none_left(family), message=str(family))


@pytest.mark.slow
def test_worker_killed_together_with_its_forkserver_leaves_no_host(lone_worker: Child) -> None:
    family = family_of(lone_worker)
    forkserver, processes_of_models = family[0], family[4:]
    os.kill(lone_worker.pid, signal.SIGSTOP)
    forkserver.kill()
    lone_worker.kill()
    eventually(lambda: none_left(family[:4]))
    # What models have started lives on then: the forkserver would have ended it.
    for process in processes_of_models:
        process.kill()


@pytest.mark.slow
def test_worker_killed_while_the_forkserver_starts_leaves_none(lone_worker: Child) -> None:
    found = eventually(lone_worker.descendants)
    lone_worker.kill()
    eventually(lambda: none_left(found))


def test_host_warns_of_an_estimator_that_another_release_of_scikit_learn_has_pickled(
    hosts: Hosts, tmp_path: Path
) -> None:
    here = installed_version("scikit-learn")
    pickled = runtimes.get("sklearn").dump(LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0]))
    other = "0" + here[1:]
    (tmp_path / "model").write_bytes(pickled.replace(here.encode(), other.encode()))
    signature = {"kind": "vector", "dtype": "float", "shape": [1]}
    host = hosts.spawn(runtime="sklearn")
    hosts.run(host.load(LoadRequest(str(tmp_path / "model"), "sklearn", {}, signature, [3.0]), 60))
    [warning] = host.warnings
    assert f"unpickle estimator LinearRegression from version {other} when using version {here}" in warning
    assert hosts.start(toys.obey).warnings == []


def test_host_says_what_its_model_answers_to_the_input_example(hosts: Hosts) -> None:
    answer = {"score": 0.5, "labels": ["a", "b"]}
    assert hosts.start(lambda _: answer, input_example=1.0).outputs == [
        {"name": "score", "dtype": "float", "shape": [], "keys": None, "as_json": False},
        {"name": "labels", "dtype": "str", "shape": [2], "keys": None, "as_json": False},
    ]
    assert hosts.start(lambda _: answer).outputs is None


@pytest.mark.parametrize("answer", ["nan", "generator", "no items", "half a surrogate pair as a name"])
def test_model_whose_answer_can_not_be_described_is_loaded_all_the_same(hosts: Hosts, answer: str) -> None:
    host = hosts.start(toys.Raw(toys.obey), input_example=["odd", answer])
    assert not host.outputs
    assert hosts.predict(host, [1]).outputs == [2]
