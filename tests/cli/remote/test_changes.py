"""`queuecast configure`, `rollback` and `history`, and what commands say of a change."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.cli.remote.deployments.changes import described
from registry.serving.settings import ServingSettings
from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService
from tests.cli.remote.test_deploy import view

HOSTS = {"hosts": {"from": 1, "to": 2}}


def changed(status: str = "active", **more: Any) -> dict[str, Any]:
    return {**view(status), "revision": 4, "changes": HOSTS, **more}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "nothing changed"),
        ({"version": {"from": "3", "to": "4"}, **HOSTS}, "version 3 → 4, hosts 1 → 2"),
        ({"max_memory_mb": {"from": None, "to": 50}}, "max_memory_mb none → 50"),
        ({"hosts": {"from": 1, "to": {"min": 0, "max": 4}}}, "hosts 1 → 0-4"),
        ({"intent": {"from": "drain", "to": "serve"}}, "undeployed (drain) → served"),
        ({"callback_url": {"from": None, "to": "https://h.example.com/?token=secret"}}, "callback_url changed"),
        (
            {
                "model_name": {"from": None, "to": "m"},
                "version": {"from": None, "to": "4"},
                "worker_group": {"from": None, "to": "default"},
                "intent": {"from": None, "to": "serve"},
                **HOSTS,
            },
            "new, m version 4, hosts 1 → 2",
        ),
    ],
)
def test_a_change_is_said_in_words(changes: dict[str, Any], text: str) -> None:
    assert described(changes) == text


def test_a_share_of_a_gpu_is_given_to_a_deploy_and_a_change(service: FakeService, command: Command) -> None:
    service.on("POST", "/deployments/deploy", changed(), status=202)
    service.on("PATCH", "/deployments/prod", changed())
    command("deploy", "m", "--endpoint", "prod", "--gpu", "0.25", "--no-wait")
    command("configure", "prod", "--gpu", "0", "--no-wait")
    assert [each.json for each in service.received] == [
        {"model_name": "m", "endpoint_name": "prod", "gpu": 0.25}, {"gpu": 0.0}
    ]  # fmt: skip


def test_a_deploy_says_what_it_has_changed_and_that_the_version_stays(service: FakeService, command: Command) -> None:
    service.on("POST", "/deployments/deploy", changed(), status=202)
    result = command("deploy", "m", "--endpoint", "prod", "--set", "hosts=2", "--reset")
    assert result.stdout == "prod: hosts 1 → 2\nprod (m version 1) is active.\n"
    assert "It keeps version 1; --version swaps to another one." in result.stderr
    assert service.received[0].json == {"model_name": "m", "endpoint_name": "prod", "hosts": 2, "reset": True}
    assert json.loads(command("deploy", "m", "--json").stdout)["changes"] == HOSTS


def test_configure_sends_what_it_names_and_null_for_a_default(service: FakeService, command: Command) -> None:
    service.on("PATCH", "/deployments/prod", changed("deploying"), status=202)
    service.on("GET", "/deployments/prod", changed("deploying"), changed("active"))
    named = ("--set", "hosts=2", "--set", "timeout_s=null", "--unset", "max_memory_mb", "--group", "gpu")
    result = command("configure", "prod", *named)
    assert result.stdout == "prod: hosts 1 → 2\nprod (m version 1) is active.\n"
    assert service.received[0].json == {"hosts": 2, "timeout_s": None, "max_memory_mb": None, "worker_group": "gpu"}
    assert command("configure", "prod").exit_code == 2
    said = command("configure", "--help").stdout
    assert [name for name in ServingSettings.model_fields if name not in said] == []


def test_a_change_that_hosts_can_not_bear_is_exit_code_1_with_the_figures(
    service: FakeService, command: Command
) -> None:
    why = "used 103 MiB of memory, more than the 50 MiB of max_memory_mb. Version 1 keeps serving"
    service.on("PATCH", "/deployments/prod", changed("deploying"), status=202)
    service.on("GET", "/deployments/prod", changed("degraded", reason=why, load_error="used 103 MiB"))
    result = command("configure", "prod", "--set", "max_memory_mb=50")
    assert result.exit_code == 1
    assert why in result.stderr


def test_a_wait_ends_if_somebody_else_changes_the_deployment(service: FakeService, command: Command) -> None:
    service.on("PATCH", "/deployments/prod", changed("deploying"), status=202)
    service.on("GET", "/deployments/prod", changed("failed", revision=5, reason="another one's failure"))
    result = command("configure", "prod", "--set", "hosts=2")
    assert result.exit_code == 1
    assert "was changed again before it was active" in result.stderr
    assert "another one's failure" not in result.stderr


def test_a_drain_that_is_stuck_is_exit_code_1_at_once_and_names_the_ways_out(
    service: FakeService, command: Command
) -> None:
    stuck = {**view("draining", "No worker can load m version 1."), "load_error": "ImportError"}
    service.on("POST", "/deployments/undeploy", {"deployments": [stuck]}, status=202)
    result = command("undeploy", "prod")
    assert result.exit_code == 1
    assert "No worker can load m version 1." in result.stderr
    assert "queuecast undeploy prod --backlog reject (or park)" in result.stderr


def test_rollback_names_a_revision_or_none(service: FakeService, command: Command) -> None:
    service.on("POST", "/deployments/prod/rollback", changed(), status=202)
    assert command("rollback", "prod").stdout.startswith("prod: hosts 1 → 2\n")
    assert command("rollback", "prod", "--to", "3", "--no-wait").exit_code == 0
    assert [each.json for each in service.received] == [{}, {"to_revision": 3}]


def test_the_history_is_a_table_and_says_why_a_change_has_failed(service: FakeService, command: Command) -> None:
    change = {"at": "2026-11-29T10:00:00+00:00", "changes": HOSTS, "rolled_back_to": None, "reason": None}
    service.on("GET", "/deployments/prod/history", {
        "revision": 3, "rollback_to": 1, "changes": [
            {**change, "revision": 3, "action": "rollback", "by": "ada", "outcome": None, "rolled_back_to": 1},
            {**change, "revision": 2, "action": "swap", "by": None, "outcome": "failed", "reason": "no weights"},
        ],
    })  # fmt: skip
    result = command("history", "prod", "--limit", "7")
    header, first, second = result.stdout.splitlines()
    assert header.split() == ["REVISION", "WHEN", "BY", "ACTION", "OUTCOME", "CHANGES"]
    assert first.split()[3:] == ["ada", "rollback", "to", "1", "pending", "hosts", "1", "→", "2"]
    assert second.split()[3:6] == ["anonymous", "swap", "failed"]
    assert "revision 2: no weights" in result.stderr
    assert "queuecast rollback prod goes to revision 1." in result.stderr
    assert service.received[0].query == {"limit": "7"}


@pytest.mark.parametrize(("text", "sent"), [("0-4", {"min": 0, "max": 4}), ("3", 3)])
def test_hosts_are_a_number_or_a_range(service: FakeService, command: Command, text: str, sent: Any) -> None:
    service.on("PATCH", "/deployments/prod", changed(), status=202)
    service.on("POST", "/deployments/deploy", changed(), status=202)
    assert command("configure", "prod", "--hosts", text).exit_code == 0
    assert command("deploy", "m", "--hosts", text).exit_code == 0
    assert [each.json["hosts"] for each in service.received] == [sent, sent]


def test_hosts_that_are_neither_are_a_wrong_use(service: FakeService, command: Command) -> None:
    result = command("configure", "prod", "--hosts", "many")
    assert result.exit_code == 2
    assert "neither a number nor a range such as 0-4" in result.stderr
