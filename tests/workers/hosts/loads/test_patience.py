"""Who preempts whom when it wakes: what forks, loads and ends waits for what serves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.service.environment import REPOSITORY
from tests.workers.hosts import toys
from tests.workers.hosts.conftest import Hosts
from workers.hosts import processes
from workers.hosts.worker_side.host import RemoteHost

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux has it")
_UNDER_ANOTHER_POLICY = """
import os
from workers.hosts import processes
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
processes.set_patient(os.getpid(), wanted=True)
assert os.sched_getscheduler(0) == os.SCHED_IDLE
"""


def policies(pid: int) -> set[int]:
    """The scheduling policies of all threads of a process."""
    return {os.sched_getscheduler(int(each.name)) for each in Path(f"/proc/{pid}/task").iterdir()}


def test_forkservers_and_hosts_that_load_are_patient_and_hosts_that_serve_are_not(hosts: Hosts) -> None:
    async def loaded() -> RemoteHost:
        host = await hosts.launcher.spawn("python")
        forkserver = psutil.Process(host.pid).ppid()
        assert (policies(forkserver), policies(host.pid)) == ({os.SCHED_BATCH}, {os.SCHED_BATCH})
        await host.load(hosts.request(toys.obey), 60)
        assert policies(host.pid) == {os.SCHED_OTHER}
        return host

    hosts.run(hosts.run(loaded()).stop())


def test_a_host_that_ends_is_patient(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    host = hosts.start(toys.obey)
    set_to: list[tuple[int, bool]] = []
    monkeypatch.setattr(processes, "set_patient", lambda pid, *, wanted: set_to.append((pid, wanted)))
    hosts.run(host.stop())
    hosts.run(host.stop())  # it has ended
    assert set_to == [(host.pid, True)]


def test_a_service_with_a_scheduling_policy_of_its_own_keeps_it() -> None:
    subprocess.run([sys.executable, "-c", _UNDER_ANOTHER_POLICY], check=True, cwd=REPOSITORY)
