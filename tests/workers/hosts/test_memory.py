"""`max_memory_bytes`: a host that uses more is killed, with a reason that names the limit and the use."""

from __future__ import annotations

import re
from typing import Any

import psutil
import pytest

from tests.workers.hosts import toys
from tests.workers.hosts.acts.sizes import LONG_S, MEBIBYTE
from tests.workers.hosts.conftest import Hosts
from workers.errors import HostStartFailed
from workers.hosts import processes
from workers.hosts.worker_side import memory_watch
from workers.hosts.worker_side.host import HostGone, HostTooBig

#: What a host uses by itself is some 100 MiB, most of it shared with the others.
LIMIT_BYTES = 400 * MEBIBYTE


@pytest.mark.slow
def test_host_that_outgrows_its_limit_while_it_predicts_is_killed(hosts: Hosts) -> None:
    host = hosts.start(toys.obey, max_memory_bytes=LIMIT_BYTES)
    with pytest.raises(HostTooBig) as caught:
        hosts.predict(host, [1, ["keep_and_hang", 500]])
    assert isinstance(caught.value, HostGone)
    assert caught.value.code == "host_too_big"
    found = re.fullmatch(
        r"the model host used (\d+) MiB of memory, more than the 400 MiB of max_memory_mb\.", str(caught.value)
    )
    assert found
    assert int(found[1]) > 400
    assert host.how_it_ended == str(caught.value)
    assert not psutil.pid_exists(host.pid)


def test_memory_of_its_children_counts(hosts: Hosts) -> None:
    host = hosts.start(toys.obey, max_memory_bytes=LIMIT_BYTES)
    with pytest.raises(HostTooBig):
        hosts.predict(host, [["child_that_keeps_while_we_hang", 400]])


def test_host_found_too_big_after_a_batch_is_killed_and_the_batch_is_good(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_watch, "_INTERVAL_S", 60)  # so that no check happens before
    host = hosts.start(toys.obey, max_memory_bytes=LIMIT_BYTES)
    answer = hosts.predict(host, [1, ["keep", 500]])
    assert answer.outputs == [2, 500]
    assert host.exited.done()
    assert "more than the 400 MiB of max_memory_mb" in host.how_it_ended
    with pytest.raises(HostTooBig):
        hosts.predict(host, [1])


def test_limit_can_be_set_while_the_host_runs(hosts: Hosts) -> None:
    host = hosts.start(toys.obey)
    assert hosts.predict(host, [["keep", 500]]).outputs == [500]
    assert not host.exited.done()
    host.max_memory_bytes = LIMIT_BYTES
    assert hosts.predict(host, [1]).outputs == [2]
    assert host.exited.done()


@pytest.mark.parametrize("hang_s", [0, LONG_S])
def test_model_that_is_too_big_when_it_is_loaded_fails_to_load(hosts: Hosts, hang_s: float) -> None:
    host = hosts.spawn(max_memory_bytes=LIMIT_BYTES)
    with pytest.raises(
        HostStartFailed, match=r"used [4-9][0-9]+ MiB of memory, more than the 400 MiB of max_memory_mb"
    ):
        hosts.run(host.load(hosts.request(toys.BigWhenLoaded(500, hang_s)), 30))
    assert host.exited.done()


def test_peak_that_is_over_does_not_count(hosts: Hosts) -> None:
    host = hosts.start(toys.obey, max_memory_bytes=LIMIT_BYTES)
    for _ in range(5):
        assert hosts.predict(host, [["touch", 200]]).outputs == [200]
    assert host.memory_bytes < LIMIT_BYTES


def test_memory_of_a_host_is_what_it_uses_now(hosts: Hosts) -> None:
    host = hosts.start(toys.obey)
    before = host.memory_bytes
    assert 10 * MEBIBYTE < before < LIMIT_BYTES
    hosts.predict(host, [["keep", 200]])
    kept = host.memory_bytes
    assert before + 190 * MEBIBYTE < kept < before + 250 * MEBIBYTE
    hosts.predict(host, ["forget"])
    assert host.memory_bytes < before + 50 * MEBIBYTE
    hosts.predict(host, [["child_that_keeps", 200]])
    assert host.memory_bytes > before + 190 * MEBIBYTE


def test_memory_is_that_of_the_whole_family(hosts: Hosts) -> None:
    host = hosts.start(toys.obey)
    hosts.predict(host, [["child_that_keeps", 50], "fork_child_with_own_session"])
    family: list[Any] = [psutil.Process(host.pid), *psutil.Process(host.pid).children(recursive=True)]
    assert len(family) == 3
    expected = sum(each.memory_info().rss for each in family)
    assert abs(processes.memory_bytes(host.pid) - expected) < 5 * MEBIBYTE


def test_process_that_has_ended_uses_nothing() -> None:
    pid = 2**22 + 1  # larger than any
    assert processes.memory_bytes(pid) == 0
    assert processes.own_memory_bytes(pid) == 0
    assert processes.children(pid) == []
