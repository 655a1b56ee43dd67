"""`configure`, `rollback` and `history` of both clients, and what `swap` goes to."""

from __future__ import annotations

from typing import Any

import pytest

from api.client import Conflict, DeploymentFailed
from tests.cli.fake_service import HANG_UP, FakeService

HOSTS = {"hosts": {"from": 1, "to": 2}}


def view(status: str, **more: Any) -> dict[str, Any]:
    return {"endpoint_name": "iris", "model_name": "iris", "version": "1", "status": status, "changes": HOSTS, **more}


def test_configure_names_settings_alone_and_none_is_the_default(service: FakeService, client: Any) -> None:
    service.on("PATCH", "/deployments/iris", view("deploying"), status=202)
    service.on("GET", "/deployments/iris", view("deploying"), {**view("active"), "changes": None})
    found = client.configure("iris", {"timeout_s": None}, hosts=2, worker_group="gpu")
    assert (found.status, found.changes) == ("active", HOSTS)
    assert service.received[0].json == {"hosts": 2, "timeout_s": None, "worker_group": "gpu"}
    assert service.received[0].headers["prefer"].startswith("wait=")


def test_how_an_alias_is_followed_is_deployed_configured_and_shown(service: FakeService, client: Any) -> None:
    standing = {"alias": "champion", "version": "4", "serves": "1", "rollout": "aborted", "text": "follows champion"}
    service.on("POST", "/deployments/deploy", view("active", followed_alias="champion", following=standing))
    service.on("PATCH", "/deployments/iris", view("active"))
    rollout = {"steps": [5, 100], "rules": {"errors": None}}
    found = client.deploy("iris", alias="champion", follow=True, endpoint_name="iris", rollout=rollout)
    assert (found.followed_alias, found.following) == ("champion", standing)
    client.configure("iris", rollout=None)
    assert service.received[0].json["rollout"] == rollout
    assert service.received[-1].json == {"rollout": None}


def test_a_change_that_the_workers_refuse_raises_their_reason(service: FakeService, client: Any) -> None:
    refused = view(
        "degraded", reason="more than the 50 MiB. Version 1 keeps serving.", load_error="more than the 50 MiB."
    )
    service.on("PATCH", "/deployments/iris", view("deploying"), status=202)
    service.on("GET", "/deployments/iris", refused)
    with pytest.raises(DeploymentFailed, match="Version 1 keeps serving"):
        client.configure("iris", max_memory_mb=50)


def test_a_drain_that_is_stuck_raises_at_once(service: FakeService, client: Any) -> None:
    stuck = view("draining", reason="No worker can load it.", load_error="ImportError")
    service.on("POST", "/deployments/undeploy", {"deployments": [stuck]}, status=202)
    with pytest.raises(DeploymentFailed, match="No worker can load it"):
        client.undeploy("iris")
    assert len(service.received) == 1


def test_a_rollback_goes_to_a_revision_and_is_not_sent_twice(service: FakeService, client: Any) -> None:
    service.on("POST", "/deployments/iris/rollback", view("active", version="3"))
    assert client.rollback("iris").version == "3"
    assert client.rollback("iris", to_revision=4).changes == HOSTS
    assert [each.json for each in service.received] == [{}, {"to_revision": 4}]
    refused = {"code": "rollback_refused", "detail": "It can't go back."}
    service.on("POST", "/deployments/none/rollback", refused, status=409)
    with pytest.raises(Conflict, match="can't go back"):
        client.rollback("none")
    service.on("POST", "/deployments/lost/rollback", HANG_UP)
    with pytest.raises(Exception, match="http"):
        client.rollback("lost")
    assert [each.path for each in service.received].count("/deployments/lost/rollback") == 1


def test_the_history_is_a_list_of_changes(service: FakeService, client: Any) -> None:
    change = {
        "revision": 2, "action": "swap", "by": "ada", "at": "2026-11-29T10:00:00+00:00", "changes": HOSTS,
        "outcome": "failed", "reason": "no weights", "rolled_back_to": None, "from": {"version": "1"},
    }  # fmt: skip
    service.on("GET", "/deployments/iris/history", {"changes": [change]})
    [found] = client.history("iris", limit=5)
    assert (found.revision, found.action, found.by, found.outcome, found.reason) == (
        2,
        "swap",
        "ada",
        "failed",
        "no weights",
    )
    assert found.document["from"] == {"version": "1"}
    assert service.received[0].query == {"limit": "5"}


def test_a_swap_without_a_version_goes_to_the_latest(service: FakeService, client: Any) -> None:
    service.on("GET", "/deployments/iris", view("active"))
    service.on("GET", "/models/iris", {"name": "iris", "latest_version": "7", "versions": []})
    service.on("POST", "/deployments/deploy", view("active", version="7"), status=201)
    assert client.swap("iris").version == "7"
    assert service.received[-1].json == {"endpoint_name": "iris", "model_name": "iris", "version": "7"}
