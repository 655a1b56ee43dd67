"""Model hosts that die, hang or grow: their own job pays for it, its batch-mates and the worker don't."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults import audit
from tests.support.loads.load import Load
from tests.support.models import Echo, Gate, Hungry, Mortal, Unruly
from tests.support.service.processes import no_more_files
from tests.support.service.stack import Stack
from tests.support.waiting import eventually

INNOCENT = [str(number) for number in range(12)]


def with_mates(service: Stack, name: str, gate: Path, guilty: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Let a guilty job wait together with innocent ones, so that they share a batch; return how they end."""
    first = service.submit(name, str(gate))
    service.wait_until_running([first])
    jobs = service.submit_all(name, [*INNOCENT[:6], guilty, *INNOCENT[6:]])
    gate.touch()
    service.ended([first])
    documents = service.ended(jobs)
    return documents.pop(6), documents


@pytest.mark.parametrize("guilty", ["exit", "kill", "segfault"])
def test_a_job_that_kills_its_host_becomes_a_dead_letter_and_its_mates_succeed(
    service: Stack, name: str, tmp_path: Path, guilty: str
) -> None:
    service.register(name, Mortal("m"))
    before = service.deploy(name, endpoint_name=name, max_attempts=3)
    worker_pid = service.workers[0].pid
    poison, mates = with_mates(service, name, tmp_path / "gate", guilty)
    assert poison["status"] == "failed"
    assert poison["error"]["code"] == "poison_job"
    assert len(poison["failures"]) == poison["attempts"] == 3
    assert [mate["outcome"]["prediction"] for mate in mates] == [["m", row] for row in INNOCENT]
    assert {mate["attempts"] for mate in mates} <= {1, 2}
    assert service.workers[0].running
    assert service.workers[0].pid == worker_pid
    service.wait_for_other_hosts(name, before["workers"][0]["pids"])
    service.wait_for_status(name, "active")
    letter = service.api.get(f"/dead-letters/{poison['job_id']}").json()
    assert letter["input"] == guilty
    assert [each["attempt"] for each in letter["failures"]] == [1, 2, 3]
    listed = service.api.get("/dead-letters", params={"endpoint_name": name}).json()["dead_letters"]
    assert [each["job_id"] for each in listed] == [poison["job_id"]]
    assert audit.leftovers(service, name, [poison["job_id"]]) == {}


def test_a_dead_letter_is_replayed_to_another_endpoint_or_discarded(service: Stack, name: str) -> None:
    service.register(name, Mortal("m"))
    service.register(f"{name}-mended", Echo("mended"))
    service.deploy(name, endpoint_name=name, max_attempts=1)
    service.deploy(f"{name}-mended", endpoint_name=f"{name}-mended")
    first, second = (service.job(service.submit(name, "exit"))["job_id"] for _ in range(2))
    replayed = service.queuecast("dead-letters", "replay", first, "--endpoint", f"{name}-mended").stdout.strip()
    assert service.job(replayed)["outcome"]["prediction"] == ["mended", "exit"]
    assert "exited with status 7" in service.queuecast("dead-letters", "show", second).stdout
    service.queuecast("dead-letters", "discard", second)
    assert service.queuecast("dead-letters", "show", second, check=False).returncode == 1
    assert service.api.get("/dead-letters", params={"endpoint_name": name}).json() == {"dead_letters": []}
    # The failed job itself stays what it was.
    assert service.job(first)["error"]["code"] == "poison_job"


def test_a_job_that_hangs_times_out_and_its_mates_succeed(service: Stack, name: str, tmp_path: Path) -> None:
    service.register(name, Gate("m"))
    service.deploy(name, endpoint_name=name, timeout_s=1)
    gate = tmp_path / "gate"
    first = service.submit(name, str(tmp_path / "never"))
    service.wait_until_running([first])
    jobs = service.submit_all(name, [*INNOCENT, str(gate)])
    documents = [service.job(first), *service.ended(jobs)]
    assert [each["status"] for each in documents] == ["failed", *["succeeded"] * len(INNOCENT), "failed"]
    assert {each["error"]["code"] for each in (documents[0], documents[-1])} == {"prediction_timed_out"}
    assert "timeout_s" in documents[0]["error"]["message"]
    service.wait_for_status(name, "active")
    replaced = [line for line in service.workers[0].log().splitlines() if f"of {name} is being replaced" in line]
    assert {line.partition(" replaced: ")[2] for line in replaced} == {"the model host did not answer within 1 s."}


def test_a_host_that_outgrows_its_memory_is_replaced_and_its_mates_succeed(
    service: Stack, name: str, tmp_path: Path
) -> None:
    service.register(name, Hungry("m"))
    service.deploy(name, endpoint_name=name, max_memory_mb=400, max_attempts=2)
    guilty, mates = with_mates(service, name, tmp_path / "gate", "eat")
    assert guilty["status"] == "failed"
    assert "400 MiB" in guilty["error"]["message"]
    assert [mate["outcome"]["prediction"] for mate in mates] == [["m", row] for row in INNOCENT]
    service.wait_for_status(name, "active")


@pytest.mark.parametrize("row", ["MemoryError", "numpy", "SystemExit", "KeyboardInterrupt", "nan", "date"])
def test_what_a_model_raises_or_returns_fails_its_own_job_only(
    service: Stack, name: str, tmp_path: Path, row: str
) -> None:
    service.register(name, Unruly("m"))
    before = service.deploy(name, endpoint_name=name)
    guilty, mates = with_mates(service, name, tmp_path / "gate", row)
    assert guilty["status"] == "failed"
    assert guilty["error"]["code"] == "prediction_failed"
    assert [mate["outcome"]["prediction"] for mate in mates] == [["m", each] for each in INNOCENT]
    assert service.view(name)["workers"][0]["pids"] == before["workers"][0]["pids"]


def test_hosts_that_are_killed_under_load_lose_no_job(service: Stack, name: str) -> None:
    service.register(name, Echo("m", seconds=0.002))
    service.deploy(name, endpoint_name=name, hosts=2, max_batch_size=8)
    with Load(service.url, name) as load:
        for _ in range(5):
            load.wait_for(40)
            pid = eventually(lambda: service.view(name)["workers"][0]["pids"], message="a host is up")[0]
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # the report was older than the host's end
        load.wait_for(40)
    assert load.refused == []
    audit.check(service, name, load.accepted, lambda row: ["m", row], 20)
    service.wait_for_status(name, "active")


def test_a_host_that_is_stopped_times_out_and_is_replaced(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    view = service.deploy(name, endpoint_name=name, timeout_s=1)
    [pid] = view["workers"][0]["pids"]
    os.kill(pid, signal.SIGSTOP)
    # The stopped host gets the first job alone; a batch would run again, row by row, and succeed.
    first = service.submit(name, INNOCENT[0])
    service.wait_until_running([first])
    documents = service.ended([first, *service.submit_all(name, INNOCENT[1:])])
    assert [each["status"] for each in documents[1:]] == ["succeeded"] * (len(INNOCENT) - 1)
    assert documents[0]["status"] == "failed"
    assert documents[0]["error"]["code"] == "prediction_timed_out"
    service.wait_for_other_hosts(name, [pid])
    service.wait_for_status(name, "active")


def test_a_host_crash_costs_seconds_at_most(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    view = service.deploy(name, endpoint_name=name)
    load_s = view["workers"][0]["load_ms"] / 1000
    took_s: list[float] = []
    killed: list[int] = []
    for _ in range(3):
        killed.append(service.wait_for_other_hosts(name, killed)[0])
        os.kill(killed[-1], signal.SIGKILL)
        began = time.monotonic()
        assert service.predict(name, "x")["prediction"] == ["m", "x"]
        took_s.append(time.monotonic() - began)
    # The bound that the issue sets; what it really takes is in docs/explanation/reliability.md.
    assert min(took_s) < 2 + load_s, took_s


def test_a_worker_that_was_short_of_descriptors_has_its_hosts_again_by_itself(service: Stack, name: str) -> None:
    service.register(name, Echo("m"))
    view = service.deploy(name, endpoint_name=name)
    [pid] = view["workers"][0]["pids"]
    with no_more_files(psutil.Process(service.workers[0].pid)):
        os.kill(pid, signal.SIGKILL)
        # Said of whatever lacked one first: the artifact, the forkserver's pipes, the host's.
        failed = "Too many open files"
        eventually(lambda: failed in str(service.view(name)["reason"]), message="no host can be started")
    service.wait_for_status(name, "active")
    assert service.predict(name, "after")["prediction"] == ["m", "after"]
