"""`queuecast models delete` and `queuecast artifacts prune`, against a stand-in for the service."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService

VERSION = {"model_name": "house", "version": "3", "artifact_sha256": "ab" * 32, "artifact_size_bytes": 2_048}


def report(count: int, **more: Any) -> dict[str, Any]:
    each = {"sha256": "ab" * 32, "size_bytes": 1_024, "reason": "deleted_version", "versions": ["house 3"]}
    return {
        "dry_run": False, "deleted": [each] * count, "deleted_bytes": 1_024 * count, "too_young": [],
        "too_young_bytes": 0, "needed_count": 7, "needed_bytes": 7_168, "is_complete": True, **more,
    }  # fmt: skip


def test_a_deleted_version_is_named_and_what_frees_its_disk(service: FakeService, command: Command) -> None:
    service.on("GET", "/models/house/versions/3", VERSION)
    service.on("DELETE", "/models/house/versions/3", b"", status=204)
    done = command("models", "delete", "house", "3")
    assert done.exit_code == 0, done.output
    assert "Deleted house version 3." in done.stdout
    assert "queuecast artifacts prune" in done.stderr
    assert json.loads(command("models", "delete", "house", "3", "--json").stdout)["deleted"]["version"] == "3"


def test_what_serves_a_version_is_named(service: FakeService, command: Command) -> None:
    service.on("GET", "/models/house/versions/3", VERSION)
    refusal = {"detail": "Version 3 of 'house' is used by prod.", "code": "version_in_use", "endpoint_names": ["prod"]}
    service.on("DELETE", "/models/house/versions/3", refusal, status=409)
    refused = command("models", "delete", "house", "3")
    assert refused.exit_code == 1
    assert "prod" in refused.stderr


def test_a_dry_run_says_what_would_go(service: FakeService, command: Command) -> None:
    young = [{"sha256": "cd" * 32, "size_bytes": 512, "reason": "no_version", "versions": []}]
    service.on("POST", "/artifacts/prune", report(2, dry_run=True, too_young=young, too_young_bytes=512))
    said = command("artifacts", "prune", "--dry-run")
    assert service.received[-1].json == {"dry_run": True, "grace_s": 3600}
    assert said.stdout.count("version deleted: house 3") == 2
    assert "Would delete 2 files, 2.0 KiB." in said.stdout
    assert "7 files (7.0 KiB) needed" in said.stderr
    assert "1 file (512 B) that nothing needs" in said.stderr


def test_a_prune_goes_on_until_everything_was_looked_at(service: FakeService, command: Command) -> None:
    service.on("POST", "/artifacts/prune", report(2, is_complete=False), report(1))
    document = json.loads(command("artifacts", "prune", "--grace", "600", "--json").stdout)
    assert (len(document["deleted"]), document["deleted_bytes"], document["is_complete"]) == (3, 3_072, True)
    assert [each.json["grace_s"] for each in service.received] == [600, 600]


def test_environments_that_went_are_counted_over_all_calls(service: FakeService, command: Command) -> None:
    first, last = ({"deleted_environments": [each * 64]} for each in "ab")
    service.on("POST", "/artifacts/prune", report(1, is_complete=False, **first), report(1, **last))
    assert "Deleted 2 environments without a version." in command("artifacts", "prune").stdout


def test_nothing_to_delete_is_said(service: FakeService, command: Command) -> None:
    service.on("POST", "/artifacts/prune", report(0))
    assert "Nothing to delete." in command("artifacts", "prune").stderr
