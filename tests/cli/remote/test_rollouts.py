"""`queuecast rollout` and `queuecast shadow`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService

PATH = "/deployments/prod/rollout"


def view(state: str = "running", step: int = 1, **more: Any) -> dict[str, Any]:
    rule = {
        "rule": "errors",
        "limit": 0.01,
        "value": 0.0,
        "interval": [0, 0.1],
        "state": "kept",
        "text": "0 of 40 failed.",
    }
    return {
        "id": "x", "endpoint_name": "prod", "model_name": "m", "version": "2", "stable_version": "1",
        "state": state, "reason": None, "steps": [1, 100], "step": step, "weight": 0.01,
        "figures": {
            "stable": {"jobs": 4000, "failed": 1, "predict_p95_ms": 4.0},
            "candidate": {"jobs": 40, "failed": 0, "predict_p95_ms": None},
            "lost_hosts": 0, "pairs": 40, "disagreements": 3, "rules": [rule],
        },
        "report": None,
        "events": [{"event": "step", "by": None, "at": "2026-11-30T10:00:00+00:00", "reason": "", "details": {}}],
        **more,
    }  # fmt: skip


def test_a_rollout_is_started_with_what_is_named(service: FakeService, command: Command) -> None:
    service.on("POST", PATH, view("loading", 0), status=202)
    named = ("--version", "2", "--steps", "5,100", "--step-s", "60", "--rule", "latency_p95=null")
    result = command("rollout", "start", "prod", *named)
    assert result.exit_code == 0, result.stderr
    assert "m version 2 on prod" in result.stdout
    assert service.received[-1].json == {
        "version": "2",
        "steps": [5.0, 100.0],
        "step_s": 60.0,
        "rules": {"latency_p95": None},
    }


def test_a_rollout_is_started_with_an_evaluation(service: FakeService, command: Command) -> None:
    service.on("POST", PATH, view("evaluating", 0), status=202)
    assert command("rollout", "start", "prod", "--version", "2", "--evaluate", "--since", "7d").exit_code == 0
    assert service.received[-1].json == {"version": "2", "start": "evaluation", "since": "7d"}


def test_a_rollout_is_shown_with_both_versions(service: FakeService, command: Command) -> None:
    service.on("GET", PATH, view())
    shown = command("rollout", "show", "prod").stdout
    assert "running, step 1 of 2, weight 1 %" in shown
    assert "4,000 jobs, 1 failed, p95 4 ms" in shown
    assert "3 of 40 differ" in shown
    assert "kept. 0 of 40 failed." in shown


def test_to_watch_an_aborted_rollout_fails(service: FakeService, command: Command) -> None:
    service.on("GET", PATH, view("aborted", reason="A host was lost."))
    result = command("rollout", "watch", "prod")
    assert result.exit_code == 1
    assert "aborted, step 1 of 2, weight 1 %: A host was lost." in result.stdout


def test_to_watch_a_promoted_rollout_succeeds(service: FakeService, command: Command) -> None:
    service.on("GET", PATH, view("promoted", 2))
    assert command("rollout", "watch", "prod").exit_code == 0


def test_a_rollout_is_steered_with_a_reason(service: FakeService, command: Command) -> None:
    service.on("POST", f"{PATH}/abort", view("aborted"))
    assert command("rollout", "abort", "prod", "--reason", "Wrong one.").exit_code == 0
    assert service.received[-1].json == {"reason": "Wrong one."}
    assert command("rollout", "start", "prod", "--version", "2", "--steps", "a,b").exit_code == 2


@pytest.mark.parametrize(
    ("more", "lost"), [({}, False), ({"lost": 0, "lost_hosts": 0}, False), ({"lost": 3, "lost_hosts": 1}, True)]
)
def test_a_shadow_is_shown_with_its_verdict(
    service: FakeService, command: Command, more: dict[str, int], lost: bool
) -> None:
    shadow = {
        "endpoint_name": "prod", "model_name": "m", "version": "2", "state": "running", "reason": None, "share": 0.2,
        "predicted": 50, "errors": 1, "shed": 2, "pairs": 49, "disagreements": 0,
        "report": {"verdict": "same", "reason": "All answers agree."},
    }  # fmt: skip
    service.on("GET", "/deployments/prod/shadow", shadow | more)
    shown = command("shadow", "show", "prod").stdout
    assert "50 jobs, 1 failed, 2 left out" in shown
    assert "same. All answers agree." in shown
    assert ("3 jobs, as their hosts died (1) or took too long" in shown) is lost
