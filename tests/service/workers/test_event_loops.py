"""Workers on each kind of event loop, and on one that there isn't."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.conftest import StartWorker
from tests.support.models import Echo
from tests.support.service.processes import living
from tests.support.service.stack import Stack, Worker
from tests.support.waiting import eventually


def has_uvloop(worker: Worker) -> bool:
    return "/uvloop/" in Path(f"/proc/{worker.pid}/maps").read_text(encoding="utf-8")


@pytest.mark.parametrize(("setting", "is_uvloop"), [("uvloop", True), ("asyncio", False)])
def test_a_worker_serves_replaces_hosts_and_ends_on_each_kind_of_event_loop(
    service: Stack, name: str, group_worker: StartWorker, setting: str, *, is_uvloop: bool
) -> None:
    service.register(name, Echo("1"))
    worker = group_worker(QUEUECAST_EVENT_LOOP=setting)
    assert has_uvloop(worker) is is_uvloop
    service.deploy(name, endpoint_name=name, worker_group=name)
    assert service.predict(name, "a")["worker"] == worker.node_name
    [host] = [each for each in worker.descendants() if each.ppid() != worker.pid]  # its parent is a forkserver
    host.kill()
    eventually(lambda: not host.is_running(), message="the worker has seen its host's end")
    assert service.predict(name, "b")["worker"] == worker.node_name
    family = worker.descendants()
    assert worker.terminate() == 0
    assert living(family) == []


def test_a_worker_with_an_event_loop_that_there_is_not_does_not_start(group_worker: StartWorker) -> None:
    worker = group_worker(wait=False, QUEUECAST_EVENT_LOOP="fast")
    assert worker.wait() != 0
    assert "QUEUECAST_EVENT_LOOP='fast': should be 'asyncio' or 'uvloop'" in worker.log()
