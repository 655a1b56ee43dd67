"""`queuecast deploy`, `undeploy`, `deployments`, `models` and `status`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from registry.serving.settings import ServingSettings
from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService


def view(status: str, reason: str | None = None) -> dict[str, Any]:
    return {
        "endpoint_name": "prod", "model_name": "m", "version": "1", "status": status, "reason": reason,
        "workers": [], "request_count": 12_345, "queue_depth": 0, "avg_latency_ms": 4.26, "p95_ms": None,
    }  # fmt: skip


def test_deploy_waits_until_it_is_active(service: FakeService, command: Command) -> None:
    service.on("POST", "/deployments/deploy", view("deploying"), status=202)
    service.on("GET", "/deployments/prod", view("deploying", "The model is being loaded."), view("active"))
    result = command("deploy", "m", "--endpoint", "prod", "--version", "1", "--set", "hosts=2", "--group", "gpu")
    assert result.exit_code == 0, result.output
    assert result.stdout == "prod (m version 1) is active.\n"
    assert service.received[0].json == {
        "model_name": "m", "endpoint_name": "prod", "version": "1", "hosts": 2, "worker_group": "gpu"
    }  # fmt: skip


def test_deploy_and_deployments_show_the_warnings_of_a_deployment(service: FakeService, command: Command) -> None:
    warned = view("active") | {"warnings": ["The model was made with scikit-learn 1.5.2."]}
    service.on("POST", "/deployments/deploy", view("deploying"), status=202)
    service.on("GET", "/deployments/prod", warned)
    for words in (("deploy", "m"), ("deployments", "prod")):
        result = command(*words)
        assert "Warning: The model was made with scikit-learn 1.5.2." in result.stderr
        assert "warnings" not in result.stdout


def test_the_help_of_deploy_names_every_serving_setting(command: Command) -> None:
    said = command("deploy", "--help").stdout
    assert [name for name in ServingSettings.model_fields if name not in said] == []


def test_deploy_has_options_for_settings_that_are_words(service: FakeService, command: Command) -> None:
    service.on("POST", "/deployments/deploy", view("deploying"), status=202)
    assert command("deploy", "m", "--no-wait", "--events", "sampled").exit_code == 0
    assert service.received[0].json == {"model_name": "m", "events": "sampled"}
    assert "'full', 'sampled', 'off'" in command("deploy", "m", "--events", "some").stderr


def test_deploy_has_options_for_the_size_of_batches(service: FakeService, command: Command) -> None:
    service.on("POST", "/deployments/deploy", view("deploying"), status=202)
    auto = ("--max-batch-size", "auto", "--target-latency-ms", "50")
    assert command("deploy", "m", "--no-wait", *auto).exit_code == 0
    assert command("deploy", "m", "--no-wait", "--max-batch-size", "8").exit_code == 0
    sent = [each.json for each in service.received]
    assert sent[0] == {"model_name": "m", "max_batch_size": "auto", "target_latency_ms": 50}
    assert sent[1] == {"model_name": "m", "max_batch_size": 8}
    assert command("deploy", "m", "--max-batch-size", "many").exit_code == 2


def test_a_deployment_that_fails_is_exit_code_1_with_the_workers_reason(service: FakeService, command: Command) -> None:
    service.on("POST", "/deployments/deploy", view("deploying"), status=202)
    service.on("GET", "/deployments/prod", view("failed", "The checksum doesn't match."))
    result = command("deploy", "m", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stderr)["deployment"]["reason"] == "The checksum doesn't match."


def test_a_deployment_that_takes_too_long_is_exit_code_4(service: FakeService, command: Command) -> None:
    service.on("POST", "/deployments/deploy", view("deploying", "No worker is running."), status=202)
    service.on("GET", "/deployments/prod", view("deploying", "No worker is running."))
    result = command("deploy", "m", "--timeout", "0.05")
    assert result.exit_code == 4
    assert "No worker is running." in result.stderr


def test_undeploy_waits_until_the_endpoint_is_gone(service: FakeService, command: Command) -> None:
    service.on("POST", "/deployments/undeploy", {"deployments": [view("draining")]}, status=202)
    service.on("GET", "/deployments/prod", view("draining"))
    service.on("GET", "/deployments/prod", {"code": "deployment_not_found", "detail": "gone"}, status=404)
    result = command("undeploy", "prod", "--backlog", "reject")
    assert result.exit_code == 0, result.output
    assert result.stdout == "prod is down (queued jobs: reject).\n"
    assert service.received[0].json == {"endpoint_name": "prod", "backlog": "reject"}


def test_undeploy_wants_an_endpoint_or_a_model(command: Command) -> None:
    assert command("undeploy").exit_code == 2
    assert command("undeploy", "prod", "--model", "m").exit_code == 2


def test_deployments_are_a_table_and_say_why_one_is_not_active(service: FakeService, command: Command) -> None:
    service.on("GET", "/deployments", {"deployments": [view("degraded", "Ready on 1 of 2 workers")]})
    result = command("deployments")
    assert result.stdout.splitlines()[1].split() == ["prod", "m", "1", "degraded", "0", "12345", "0", "4.3", "-"]
    assert "prod: Ready on 1 of 2 workers" in result.stderr


def test_deployments_show_the_memory_of_the_workers_that_report_it(service: FakeService, command: Command) -> None:
    known = {
        "worker": "w@1", "worker_group": "default", "used_bytes": 500_000_000, "budget_bytes": 1_000_000_000,
        "evictions": 3, "cold_starts": 12, "cold_start_p50_ms": 210.0, "cold_start_p95_ms": 900.5,
    }  # fmt: skip
    earlier = {"worker": "w@2", "worker_group": "default"}
    service.on("GET", "/deployments", {"deployments": [view("asleep")], "workers": [known, earlier]})
    lines = command("deployments").stdout.splitlines()
    assert lines[1].split()[3] == "asleep"
    assert "BUDGET MB" in lines[-2]
    assert lines[-1].split()[:5] == ["w@1", "500.0", "1,000.0", "3", "12"]


def test_register_sends_the_file_and_what_it_is(service: FakeService, command: Command, tmp_path: Path) -> None:
    service.on("POST", "/models", {"model_name": "churn", "version": "3", "runtime": "sklearn"}, status=201)
    artifact = tmp_path / "churn.joblib"
    artifact.write_bytes(b"\x00model\xff")
    result = command(
        "models", "register", "churn", str(artifact), "--runtime", "sklearn", "--option", "method=predict_proba",
        "--input-example", "[0.5, 0.8]", "--metadata", "trained_by=Ada",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout == "Registered churn version 3.\n"
    body = service.received[0].body
    assert b"\x00model\xff" in body
    metadata = json.loads(body.split(b'name="metadata"\r\n\r\n')[1].split(b"\r\n--")[0])
    assert metadata == {
        "name": "churn", "runtime": "sklearn", "runtime_options": {"method": "predict_proba"},
        "input_example": [0.5, 0.8], "metadata": {"trained_by": "Ada"},
    }  # fmt: skip


def test_register_says_which_runtime_the_service_has_found_and_why(
    service: FakeService, command: Command, tmp_path: Path
) -> None:
    artifact = tmp_path / "model.joblib"
    artifact.write_bytes(b"?")
    reason = "the file is a pickle of sklearn.pipeline.Pipeline"
    found = {"model_name": "m", "version": "1", "runtime": "sklearn", "runtime_reason": reason}
    service.on("POST", "/models", found, status=201)
    result = command("models", "register", "m", str(artifact))
    assert result.exit_code == 0, result.output
    assert f"Its runtime is sklearn: {reason}." in result.stderr
    assert b'"runtime"' not in service.received[0].body


def test_register_takes_a_csv_file_as_the_example_and_a_folder_of_mlflow_as_the_model(
    service: FakeService, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("age,city\n3,Ulm\n,Bonn\n")
    (tmp_path / "model.pkl").write_bytes(b"?")
    view = {"model_name": "m", "version": "1", "runtime": "sklearn"}
    origin = {"mlflow": {"flavor": "sklearn", "warnings": []}}
    service.on("POST", "/models", {**view, "metadata": origin}, status=201)
    result = command("models", "register", "m", str(tmp_path / "model.pkl"), "--input-example", f"@{tmp_path}/rows.csv")
    assert result.exit_code == 0, result.output
    metadata = json.loads(service.received[0].body.split(b'name="metadata"\r\n\r\n')[1].split(b"\r\n--")[0])
    assert metadata["input_example"] == {"age": 3.0, "city": "Ulm"}
    assert metadata["signature"]["fields"] == {"age": {"dtype": "float", "nullable": True}, "city": {"dtype": "str"}}
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "MLmodel" in command("models", "register", "m", str(folder)).stderr
    (folder / "MLmodel").write_text("flavors: {}")
    assert "Imported m version 1" in command("models", "register", "m", str(folder)).stdout


def test_status_that_is_not_ready_is_exit_code_3_and_names_the_part(service: FakeService, command: Command) -> None:
    parts = {"redis": {"status": "unavailable", "detail": "Redis can't be reached."}, "database": {"status": "ready"}}
    service.on("GET", "/health/ready", {"status": "unavailable", "parts": parts}, status=503)
    result = command("status")
    assert result.exit_code == 3
    assert "Redis can't be reached." in result.stdout


def test_nothing_at_the_url_is_exit_code_3_and_says_what_to_do(command: Command) -> None:
    result = command("status", "--url", "http://127.0.0.1:9")
    assert result.exit_code == 3
    assert "No service answers at http://127.0.0.1:9" in result.stderr
    assert "queuecast run" in result.stderr


def test_something_else_at_the_url_is_exit_code_3(service: FakeService, command: Command) -> None:
    service.on("GET", "/models", b"<html>", status=200)
    result = command("models", "list")
    assert result.exit_code == 3
    assert "is not Queuecast" in result.stderr


def test_a_busy_service_is_exit_code_3(service: FakeService, command: Command) -> None:
    service.on("GET", "/models", {"code": "registry_unavailable", "detail": "try again"}, status=503)
    assert command("models", "list").exit_code == 3


def test_names_are_quoted_in_paths(service: FakeService, command: Command) -> None:
    command("models", "show", "a/../b?c")
    assert service.received[0].path == "/models/a%2F..%2Fb%3Fc"
