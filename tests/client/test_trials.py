"""Shadows and rollouts with both clients."""

from __future__ import annotations

from typing import Any

import pytest

from api.client import Conflict, NotFound
from tests.cli.fake_service import FakeService

ROLLOUT: dict[str, Any] = {
    "id": "x", "endpoint_name": "iris", "model_name": "iris", "version": "2", "stable_version": "1",
    "state": "running", "reason": None, "steps": [1, 100], "step": 1, "weight": 0.01, "events": [], "figures": {},
}  # fmt: skip
SHADOW = {**ROLLOUT, "share": 0.2, "pairs": 9, "disagreements": 1, "report": None}
PATH = "/deployments/iris/rollout"


def test_a_rollout_is_started_with_what_is_given(service: FakeService, client: Any) -> None:
    service.on("POST", PATH, ROLLOUT, status=202)
    found = client.start_rollout("iris", "2", steps=(1, 100), step_s=60, rules={"disagreement": None})
    assert (found.state, found.weight, found.is_over) == ("running", 0.01, False)
    assert service.received[0].json == {
        "version": "2", "steps": [1, 100], "step_s": 60, "rules": {"disagreement": None},
    }  # fmt: skip


def test_a_rollout_is_started_with_an_evaluation(service: FakeService, client: Any) -> None:
    service.on("POST", PATH, {**ROLLOUT, "state": "evaluating"}, status=202)
    assert client.start_rollout("iris", "2", evaluate=True, since="7d").state == "evaluating"
    assert service.received[0].json == {"version": "2", "start": "evaluation", "since": "7d"}


@pytest.mark.parametrize("transition", ["pause", "resume", "promote", "abort"])
def test_a_rollout_is_steered(service: FakeService, client: Any, transition: str) -> None:
    service.on("POST", f"{PATH}/{transition}", {**ROLLOUT, "state": "aborted"})
    assert getattr(client, f"{transition}_rollout")("iris").is_over
    assert service.received[0].json == {}


def test_refusals_are_errors(service: FakeService, client: Any) -> None:
    service.on("GET", PATH, {"code": "rollout_not_found", "detail": "none"}, status=404)
    service.on("POST", f"{PATH}/promote", {"code": "rollout_refused", "detail": "It is loading."}, status=409)
    with pytest.raises(NotFound):
        client.rollout("iris")
    with pytest.raises(Conflict, match="loading"):
        client.promote_rollout("iris", reason="now")
    assert service.received[-1].json == {"reason": "now"}


def test_a_shadow_is_started_shown_and_stopped(service: FakeService, client: Any) -> None:
    path = "/deployments/iris/shadow"
    service.on("POST", path, SHADOW, status=202)
    service.on("GET", path, SHADOW)
    service.on("DELETE", path, {**SHADOW, "state": "stopped"})
    assert client.start_shadow("iris", "2", share=0.2).share == 0.2
    assert client.shadow("iris").disagreements == 1
    assert client.stop_shadow("iris").state == "stopped"
    assert service.received[0].json == {"version": "2", "share": 0.2}
