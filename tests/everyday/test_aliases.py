"""docs/guides/aliases.md: name a version, move the name, let an endpoint follow it, tag and search."""

from __future__ import annotations

import pytest

from tests.everyday.conftest import Follow
from tests.support.models import Echo
from tests.support.service.stack import Stack

PAGE = "aliases.md"
MODEL, ENDPOINT = "binary_classifier", "classifier_prod"


@pytest.fixture(scope="module", autouse=True)
def _second_version(service: Stack) -> None:
    if service.api.get(f"/models/{MODEL}/versions/2").status_code == 404:
        assert service.register(MODEL, Echo(), [0.5, 0.8, 0.2])["version"] == "2"


def test_the_guide_from_the_first_name_to_a_promotion(service: Stack, follow: Follow) -> None:
    assert "champion names version 1" in follow(PAGE, "name a version").replace("now ", "")
    moved = follow(PAGE, "move an alias")
    assert "champion now names version 2" in moved
    assert moved.count("anonymous") == 2
    assert f"{ENDPOINT} (binary_classifier version 2) is active" in follow(PAGE, "deploy by alias")
    assert f"{ENDPOINT} swaps to it" in follow(PAGE, "promote a version")
    view = service.wait_for_status(ENDPOINT, "active")
    assert (view["version"], view["followed_alias"]) == ("1", "champion")
    outcome = service.api.post(f"/predict/{ENDPOINT}", json={"input": [0.5, 0.8, 0.2]}, headers={"Prefer": "wait=30"})
    assert outcome.json()["version"] == "1"
    last = service.api.get(f"/deployments/{ENDPOINT}/history").json()["changes"][0]
    assert (last["action"], last["changes"]["version"]) == ("swap", {"from": "2", "to": "1"})
    service.undeploy(ENDPOINT)


def test_models_are_found_by_their_tags(service: Stack, follow: Follow) -> None:
    shown = follow(PAGE, "tag and search").splitlines()
    assert shown[0] == "binary_classifier: owner=risk, tier=1"
    assert shown[1] == "binary_classifier version 2: reviewed=2026-11-29"
    assert sum(line.startswith(MODEL) for line in shown) == 5
    assert not [line for line in shown if line.startswith("quadratic")]
    assert shown[-1] == "binary_classifier: owner=risk"
