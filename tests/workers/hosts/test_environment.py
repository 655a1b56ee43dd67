"""The environment of a host: no URLs, no credentials, no open sockets, but the worker's module search path."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

from tests.workers.hosts import toys
from tests.workers.hosts.conftest import SECRET, SECRETS, Hosts
from workers.hosts.worker_side.host import RemoteHost
from workers.hosts.worker_side.launcher import scrubbed_environment


@pytest.fixture
def host(hosts: Hosts) -> RemoteHost:
    return hosts.start(toys.obey)


def test_model_sees_no_secret_and_no_setting_in_its_environment(hosts: Hosts, host: RemoteHost) -> None:
    [environment] = hosts.predict(host, ["environment"]).outputs
    assert not {*SECRETS, "QUEUECAST_REDIS_URL", "QUEUECAST_DATA_DIR"} & set(environment)
    assert SECRET not in str(environment)
    assert environment["PATH"] == os.environ["PATH"]
    assert not [name for name in environment if "URL" in name or "QUEUECAST" in name]


def test_neither_host_nor_forkserver_was_started_with_a_secret(hosts: Hosts, host: RemoteHost) -> None:
    [own] = hosts.predict(host, ["own_environ_file"]).outputs
    forkserver = psutil.Process(host.pid).ppid()
    assert forkserver != os.getpid()
    found = [own, *(Path(f"/proc/{pid}/environ").read_text() for pid in (host.pid, forkserver))]
    for text in found:
        assert "PYTHONPATH=" in text
        assert SECRET not in text
        assert "QUEUECAST" not in text
    assert SECRET not in Path(f"/proc/{forkserver}/cmdline").read_text()


def test_host_has_no_socket_but_its_channel(hosts: Hosts, host: RemoteHost) -> None:
    neighbour = hosts.start(toys.obey)
    for each in (host, neighbour):
        [found] = hosts.predict(each, ["open_descriptors"]).outputs
        sockets = [what for what in found.values() if what.startswith("socket:")]
        assert len(sockets) == 1, found
        pipes = [what for number, what in found.items() if int(number) > 2 and what.startswith("pipe:")]
        assert pipes == [], found


def test_forkserver_has_no_socket_of_the_worker_and_none_of_its_hosts(hosts: Hosts, host: RemoteHost) -> None:
    forkserver = psutil.Process(host.pid).parent()
    assert forkserver is not None
    assert forkserver.net_connections(kind="inet") == []
    before = forkserver.num_fds()
    for _ in range(3):
        hosts.start(toys.obey)
    assert forkserver.num_fds() == before


def test_program_that_a_model_starts_without_care_does_not_get_the_channel(hosts: Hosts, host: RemoteHost) -> None:
    [found] = hosts.predict(host, ["descriptors_of_a_program"]).outputs
    assert found
    assert not [what for what in found if what.startswith("socket:")]


def test_model_runs_in_the_working_directory_and_finds_what_the_worker_finds(hosts: Hosts, host: RemoteHost) -> None:
    folder, path = hosts.predict(host, ["folder", "modules_path"]).outputs
    assert folder == str(Path.cwd())
    assert "" not in path
    assert {str(Path(each).absolute()) for each in sys.path if each} <= set(path)


@pytest.mark.slow
def test_own_module_in_the_working_directory_can_be_imported_also_after_a_change_of_folder(
    own_hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_users_own_module.py").write_text("ANSWER = 42\n")
    monkeypatch.chdir(tmp_path)
    host = own_hosts.start(toys.obey, "change_folder")
    assert own_hosts.predict(host, [["attribute_of", "a_users_own_module", "ANSWER"]]).outputs == [42]


def test_working_directory_comes_last_if_the_worker_does_not_look_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["/first", "relative"])
    assert scrubbed_environment(1)["PYTHONPATH"] == f"/first:{tmp_path}/relative:{tmp_path}"
    monkeypatch.setattr(sys, "path", ["", "/second"])
    assert scrubbed_environment(1)["PYTHONPATH"] == f"{tmp_path}:/second"


def test_threads_of_numerical_libraries_are_limited(hosts: Hosts, host: RemoteHost) -> None:
    assert hosts.predict(host, ["threads_of_libraries"]).outputs == ["1"]
    assert {scrubbed_environment(3)[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {"3"}


def test_hosts_draw_different_random_numbers(hosts: Hosts, host: RemoteHost) -> None:
    neighbour = hosts.start(toys.obey)
    assert hosts.predict(host, ["random_number"]).outputs != hosts.predict(neighbour, ["random_number"]).outputs


def test_host_is_taken_first_when_memory_is_short_and_leaves_no_core_file(hosts: Hosts, host: RemoteHost) -> None:
    assert hosts.predict(host, ["out_of_memory_score", "core_limit"]).outputs == [500, 0]


@pytest.mark.slow
def test_host_has_the_libraries_of_its_runtime_and_no_more(own_hosts: Hosts) -> None:
    modules = own_hosts.start(loaded_modules, libraries_of="sklearn")
    assert "sklearn.ensemble" in own_hosts.predict(modules, [1]).outputs[0]
    for runtime in ("python", "unknown"):
        modules = own_hosts.start(loaded_modules, libraries_of=runtime)
        loaded = {name.partition(".")[0] for name in own_hosts.predict(modules, [1]).outputs[0]}
        assert not loaded & {"sklearn", "scipy", "pandas", "numpy", "joblib", "asyncio", "xgboost", "lightgbm", "torch"}


def loaded_modules(_: object) -> list[str]:
    import sys

    return sorted(sys.modules)
