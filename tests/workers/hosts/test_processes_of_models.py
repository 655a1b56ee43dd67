"""Processes that a model forks or starts, and changes of its process: nothing remains."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.workers.hosts import toys
from tests.workers.hosts.conftest import Hosts
from workers.hosts.worker_side.host import HostGone, HostTooSlow


def children_of(pid: int) -> list[psutil.Process]:
    return [each for each in psutil.Process(pid).children() if each.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize(
    ("act", "output"),
    [
        ("fork_and_return", "both say this"),
        ("fork_in_c_and_return", "both say this"),
        ("fork_and_raise", "parent"),
        ("fork_and_exit", "parent"),
    ],
)
def test_child_that_returns_from_a_prediction_ends_and_never_answers(hosts: Hosts, act: str, output: str) -> None:
    host = hosts.start(toys.obey)
    for number in range(5):
        assert hosts.predict(host, [number, act, 2]).outputs == [2 * number, output, 4]
    hosts.eventually(lambda: not children_of(host.pid))
    assert hosts.predict(host, ["process_id"]).outputs == [host.pid]


def test_child_that_returns_predicts_no_further_rows(hosts: Hosts, tmp_path: Path) -> None:
    host, notes = hosts.start(toys.obey), tmp_path / "notes"
    for act in ("fork_and_raise", "fork_and_exit"):
        assert hosts.predict(host, [act, ["note", str(notes)]]).outputs == ["parent", host.pid]
    hosts.predict(host, ["fork_and_return"] + [["note", str(notes)]] * 2, max_batch_size=1)
    hosts.eventually(lambda: not children_of(host.pid))
    assert notes.read_text().split() == [str(host.pid)] * 4


def test_child_of_a_model_has_no_channel_to_the_worker(hosts: Hosts) -> None:
    [child] = hosts.predict(hosts.start(toys.obey), ["fork_child_that_lives_on"]).outputs

    def sockets() -> list[str]:
        found = []
        for each in list(Path(f"/proc/{child}/fd").iterdir()):
            with suppress(FileNotFoundError):  # the child has just closed it
                found.append(str(each.readlink()))
        assert found
        return [what for what in found if what.startswith("socket:")]

    hosts.eventually(lambda: not sockets())


def test_what_a_model_started_is_left_alone_while_its_host_lives(hosts: Hosts) -> None:
    host, neighbour = hosts.start(toys.obey), hosts.start(toys.obey)
    daemon = psutil.Process(hosts.predict(host, ["start_daemon"]).outputs[0])
    assert daemon.ppid() == host.pid
    hosts.run(neighbour.stop())
    hosts.start(toys.obey)
    assert daemon.is_running()


@pytest.mark.parametrize("act", ["fork_and_return", "fork_and_raise", "fork_in_c_and_return"])
def test_child_that_returns_from_loading_ends(hosts: Hosts, act: str) -> None:
    host = hosts.start(toys.obey, act)
    assert hosts.predict(host, [1, "process_id"]).outputs == [2, host.pid]
    hosts.eventually(lambda: not children_of(host.pid))


@pytest.mark.parametrize(
    "act",
    ["fork_child_that_lives_on", "fork_child_with_own_session", "start_daemon", "start_program_in_background"],
)
def test_processes_that_a_model_started_end_with_its_host(hosts: Hosts, act: str) -> None:
    host = hosts.start(toys.obey)
    answer = hosts.predict(host, [1, act])
    assert answer.errors == {}
    started = psutil.Process(answer.outputs[1])
    assert hosts.predict(host, [2]).outputs == [4]
    assert started.is_running()
    hosts.run(host.stop())
    hosts.eventually(lambda: not started.is_running())


@pytest.mark.slow
@pytest.mark.parametrize("end", ["segfault", "exit_at_once", "hang"])
@pytest.mark.parametrize("act", ["fork_child_that_lives_on", "start_daemon"])
def test_they_end_with_a_host_that_dies_and_do_not_keep_its_channel_open(hosts: Hosts, act: str, end: str) -> None:
    host = hosts.start(toys.obey)
    started = psutil.Process(hosts.predict(host, [act]).outputs[0])
    with pytest.raises(HostTooSlow if end == "hang" else HostGone):
        hosts.predict(host, [end], timeout_s=1 if end == "hang" else 60)
    hosts.eventually(lambda: not started.is_running())


def test_model_can_end_what_it_started(hosts: Hosts) -> None:
    answer = hosts.predict(hosts.start(toys.obey), ["terminate_own_program", "terminate_own_child"])
    assert answer.outputs == [-15, 15]


def test_host_itself_does_not_end_by_a_signal_to_its_group(hosts: Hosts) -> None:
    host = hosts.start(toys.obey)
    for number in (2, 15):
        os.killpg(host.pid, number)
    assert hosts.predict(host, [1]).outputs == [2]


def test_threads_that_live_on_do_not_keep_a_host_alive(hosts: Hosts) -> None:
    host = hosts.start(toys.obey)
    assert hosts.predict(host, ["start_threads", 1]).outputs == [6, 2]
    host._writer.close()  # what a worker's end looks like
    hosts.eventually(host.exited.done)
    assert host.exited.result() == 0


@pytest.mark.parametrize(
    ("act", "look", "found"),
    [
        ("change_folder", "folder", str(Path.cwd())),
        ("change_signal_handlers", "own_signal_handlers", []),
        ("lower_the_recursion_limit", "needs_recursion", 100),
    ],
)
def test_next_batch_does_not_meet_what_a_model_changed(hosts: Hosts, act: str, look: str, found: Any) -> None:
    host = hosts.start(toys.obey)
    changed = hosts.predict(host, [1, act, 2])
    assert (changed.outputs[0], changed.outputs[2], changed.errors) == (2, 4, {})
    assert hosts.predict(host, [look, 1]).outputs == [found, 2]


def test_what_a_model_sets_up_while_it_is_loaded_stays(hosts: Hosts) -> None:
    host = hosts.start(toys.obey, "change_folder")
    assert hosts.predict(host, ["folder"]).outputs == ["/"]


@pytest.mark.parametrize(
    "act", ["close_standard_descriptors", "close_standard_streams", "lose_standard_streams", "print_megabytes"]
)
def test_host_survives_what_a_model_does_to_its_standard_streams(hosts: Hosts, act: str) -> None:
    host = hosts.start(toys.obey)
    answer = hosts.predict(host, [1, act, 3])
    assert (answer.outputs[0], answer.outputs[2], answer.errors) == (2, 6, {})
    answer = hosts.predict(host, ["print_something", "refuse", 3])
    assert answer.outputs[2] == 6
    assert answer.errors == {1: {"type": "ValueError", "message": "not today"}}


def test_what_a_model_prints_is_in_the_log_of_its_worker(own_hosts: Hosts, capfd: pytest.CaptureFixture[str]) -> None:
    host = own_hosts.start(toys.obey)
    rows = [
        "print_something",
        "print_megabytes",
        "write_garbage",
        "close_standard_descriptors",
        "close_standard_streams",
    ]
    for row in rows:
        assert own_hosts.predict(host, [1, row, 3]).outputs[::2] == [2, 6]
    own_hosts.predict(host, ["print_something"])
    own_hosts.predict(host, ["refuse"])
    printed, logged = capfd.readouterr()
    assert printed.count("a line of some length") == 20_000
    assert printed.count("and one without an end") == 50_000
    assert r"\ud800 is no character" in printed
    assert (printed + logged).count("something to stdout\n") == 2
    assert logged.count("something to stderr\n") == 2
    assert "a prediction failed\n    Traceback" in logged
