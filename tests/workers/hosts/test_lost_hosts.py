"""Hosts that die, hang or stop answering: one specific error each, and nothing is left behind."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from tests.workers.hosts import toys
from tests.workers.hosts.acts.sizes import MEBIBYTE
from tests.workers.hosts.conftest import Hosts
from workers.errors import HostStartFailed
from workers.hosts.worker_side.host import HostGone, HostTooSlow


@pytest.mark.parametrize(
    ("act", "how"),
    [
        ("segfault", "was killed by SIGSEGV"),
        ("exit_at_once", "exited with status 7"),
        ("be_killed", r"was killed by SIGKILL \(perhaps out of memory\)"),
        ("be_ended_by_a_real_time_signal", "was killed by signal 37"),
        ("close_every_descriptor", "exited with status 1"),
    ],
)
def test_dead_host_says_how_it_ended(hosts: Hosts, act: str, how: str) -> None:
    host = hosts.start(toys.obey)
    with pytest.raises(HostGone, match=f"^the model host {how}.$") as caught:
        hosts.predict(host, [1, act, 2])
    assert caught.value.code == "host_gone"
    assert host.exited.done()
    assert host.how_it_ended == str(caught.value)
    assert host.memory_bytes == 0


def test_host_that_dies_while_nobody_waits_is_reported(hosts: Hosts) -> None:
    host = hosts.start(toys.obey)
    assert hosts.predict(host, ["exit_soon_in_a_thread"]).outputs == ["soon"]
    hosts.eventually(host.exited.done)
    assert host.how_it_ended == "the model host exited with status 5."
    with pytest.raises(HostGone, match="exited with status 5"):
        hosts.predict(host, [1])


@pytest.mark.parametrize("act", ["hang", "hang_in_a_busy_loop", "be_stopped"])
def test_host_that_does_not_answer_in_time_is_killed(hosts: Hosts, act: str) -> None:
    host = hosts.start(toys.obey)
    with pytest.raises(HostTooSlow, match=r"^the model host did not answer within 0\.3 s\.$") as caught:
        hosts.predict(host, [1, act], timeout_s=0.3)
    assert caught.value.code == "host_too_slow"
    assert not psutil.pid_exists(host.pid)
    assert host.how_it_ended == str(caught.value)


def test_host_that_is_killed_for_a_reason_says_that_one(hosts: Hosts) -> None:
    host = hosts.start(toys.obey)
    host.kill("a job of its batch was cancelled.")
    with pytest.raises(HostGone, match=r"^a job of its batch was cancelled\.$"):
        hosts.predict(host, ["hang"])
    assert host.how_it_ended == "a job of its batch was cancelled."


def test_host_that_was_stopped_while_idle_is_killed_at_the_next_batch(hosts: Hosts) -> None:
    host = hosts.start(toys.obey)
    psutil.Process(host.pid).suspend()
    with pytest.raises(HostTooSlow):
        hosts.predict(host, [1], timeout_s=0.3)
    assert not psutil.pid_exists(host.pid)


def test_host_that_does_not_read_is_killed_in_time(hosts: Hosts) -> None:
    host = hosts.start(toys.obey)
    psutil.Process(host.pid).suspend()
    with pytest.raises(HostTooSlow):
        hosts.predict(host, [["long_text", "x" * (4 * MEBIBYTE)]], timeout_s=0.3)
    assert not psutil.pid_exists(host.pid)


@pytest.mark.slow
def test_time_limit_is_for_the_batch_and_for_trying_its_rows_one_by_one(hosts: Hosts) -> None:
    host = hosts.start(toys.slow_alone, vectorized=True)
    assert hosts.predict(host, [1.0], timeout_s=2).outputs == [1.0]
    began = time.monotonic()
    with pytest.raises(HostTooSlow):
        hosts.predict(host, [1.0] * 20, timeout_s=1)
    assert time.monotonic() - began < 8  # all rows alone would take 10 s


def test_neighbours_do_not_notice_a_dead_host(hosts: Hosts) -> None:
    neighbour, host = hosts.start(toys.obey), hosts.start(toys.obey)
    with pytest.raises(HostGone):
        hosts.predict(host, ["segfault"])
    assert hosts.predict(neighbour, [1, 2]).outputs == [2, 4]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ("\xff\xff\xff\xff", "a frame of 4294967295 bytes, more than"),
        ("\0\0\0\2{}", "required field `number`"),
        ("\0\0\0\x04oops", "malformed"),
        ('\0\0\0\x5b{"number":1,"outputs":["stale"],"errors":{},"predict_ms":1}' + " " * 33, "another request"),
    ],
)
def test_host_that_breaks_the_channel_is_killed(hosts: Hosts, sent: str, reason: str) -> None:
    host = hosts.start(toys.obey)
    with pytest.raises(HostGone, match=f"sent an invalid answer: .*{reason}") as caught:
        hosts.predict(host, [["write_to_the_channel", sent]])
    assert host.how_it_ended == str(caught.value)
    assert not psutil.pid_exists(host.pid)


def test_stopping_twice_is_stopping_once(hosts: Hosts) -> None:
    host = hosts.start(toys.obey)
    hosts.run(host.stop())
    hosts.run(host.stop())
    assert host.exited.done()
    assert not psutil.pid_exists(host.pid)


class TestLoading:
    @pytest.mark.parametrize(
        ("act", "reason"),
        [
            ("exit_at_once", "While loading the model, the model host exited with status 7."),
            ("segfault", "While loading the model, the model host was killed by SIGSEGV."),
            ("refuse", "The model fails on its example: ValueError: not today"),
            ("call_sys_exit", "The model fails on its example: SystemExit: 3"),
            ("raise_keyboard_interrupt", "The model fails on its example: KeyboardInterrupt: "),
            ("raise_memory_error", "The model fails on its example: MemoryError: "),
            (
                "raise_unprintable",
                "The model fails on its example: Unprintable: (its text can't be shown: RuntimeError)",
            ),
        ],
    )
    def test_failure_on_the_example_says_what_happened(self, hosts: Hosts, act: str, reason: str) -> None:
        host = hosts.spawn()
        with pytest.raises(HostStartFailed) as caught:
            hosts.run(host.load(hosts.request(toys.obey, act), 30))
        assert str(caught.value) == reason
        hosts.eventually(host.exited.done)

    @pytest.mark.parametrize(
        ("act", "reason"),
        [
            ("refuse", "The model can't be loaded: ValueError: not today"),
            ("call_sys_exit", "The model can't be loaded: SystemExit: 3"),
            ("raise_unprintable", "The model can't be loaded: Unprintable: (its text can't be shown: RuntimeError)"),
            ("exit_at_once", "While loading the model, the model host exited with status 7."),
        ],
    )
    def test_failure_to_load_says_what_happened(self, hosts: Hosts, act: str, reason: str) -> None:
        host = hosts.spawn()
        with pytest.raises(HostStartFailed) as caught:
            hosts.run(host.load(hosts.request(toys.ActsWhenLoaded(act)), 30))
        assert str(caught.value) == reason
        hosts.eventually(host.exited.done)

    @pytest.mark.parametrize("act", ["hang", "be_stopped"])
    def test_time_limit_of_loading(self, hosts: Hosts, act: str) -> None:
        host = hosts.spawn()
        with pytest.raises(HostStartFailed, match=r"the model host did not answer within 0\.3 s"):
            hosts.run(host.load(hosts.request(toys.obey, act), 0.3))
        assert not psutil.pid_exists(host.pid)

    def test_file_that_is_no_model(self, hosts: Hosts) -> None:
        request = hosts.request(toys.obey)
        Path(request.path).write_bytes(b"no pickle at all")
        with pytest.raises(HostStartFailed, match=r"^The model can't be loaded: "):
            hosts.run(hosts.spawn().load(request, 30))
