"""Aliases and tags over HTTP: compare-and-set, what follows an alias, searches and refusals."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Client


@pytest.fixture(autouse=True)
def _three_versions(client: Client) -> None:
    for _ in range(3):
        client.register()


def move(client: Client, version: Any, alias: str = "champion", **wanted: Any) -> Any:
    return client.put(f"/models/adder/aliases/{alias}", json={"version": version, **wanted})


def refused(answer: Any, status: int, code: str) -> str:
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    return str(answer.json["detail"])


def test_an_alias_moves_from_the_expected_version_and_keeps_its_history(client: Client) -> None:
    made = move(client, 1, expected=None)
    assert made.status_code == 200
    assert made.json["moved"] is True
    assert {name: made.json[name] for name in ("model_name", "alias", "version", "followed_by", "swapped")} == {
        "model_name": "adder", "alias": "champion", "version": "1", "followed_by": [], "swapped": [],
    }  # fmt: skip
    assert move(client, "2", expected="1").json["moved"] is True
    assert move(client, "2", expected="1").json["moved"] is False
    detail = refused(move(client, "3", expected="1"), 409, "alias_changed")
    assert "names version 2" in detail
    refused(move(client, "3", expected=None), 409, "alias_changed")
    assert move(client, "3").json["version"] == "3"
    [shown] = client.get("/models/adder/aliases").json["aliases"]
    assert client.get("/models/adder/aliases/champion").json == shown
    moves = client.get("/models/adder/aliases/champion/history").json["moves"]
    assert [(each["from"], each["to"], each["by"]) for each in moves] == [
        ("2", "3", None), ("1", "2", None), (None, "1", None),
    ]  # fmt: skip


def test_models_and_versions_show_aliases_and_tags(client: Client) -> None:
    move(client, 2)
    assert client.patch("/models/adder/tags", json={"tags": {"owner": "risk"}}).json == {"tags": {"owner": "risk"}}
    client.patch("/models/adder/versions/2/tags", json={"tags": {"reviewed": "yes"}})
    model = client.get("/models/adder").json
    assert (model["aliases"], model["tags"]) == ({"champion": "2"}, {"owner": "risk"})
    assert [(each["aliases"], each["tags"]) for each in model["versions"]] == [
        ([], {}), (["champion"], {"reviewed": "yes"}), ([], {}),
    ]  # fmt: skip
    version = client.get("/models/adder/versions/2").json
    assert (version["aliases"], version["tags"]) == (["champion"], {"reviewed": "yes"})
    assert client.patch("/models/adder/tags", json={"tags": {"owner": None}}).json == {"tags": {}}


def test_models_are_searched_by_name_and_tags(client: Client) -> None:
    client.register("multiplier")
    client.patch("/models/adder/tags", json={"tags": {"owner": "risk", "tier": "1"}})

    def found(**query: str) -> list[str]:
        return [each["name"] for each in client.get("/models", query_string=query).json["models"]]

    assert found() == ["adder", "multiplier"]
    assert found(q="MULTI") == ["multiplier"]
    assert found(**{"tag.owner": "risk", "tag.tier": "1"}) == ["adder"]
    assert found(**{"tag.owner": "risk", "tag.tier": "2"}) == []
    refused(client.get("/models?owner=risk"), 422, "request_invalid")


def test_a_move_swaps_the_endpoints_that_follow(client: Client) -> None:
    move(client, 1)
    view = client.deploy("adding", alias="champion", follow=True)
    assert (view["version"], view["followed_alias"]) == ("1", "champion")
    assert client.deploy("pinned", alias="champion")["followed_alias"] is None
    moved = move(client, 2).json
    assert (moved["followed_by"], moved["swapped"]) == (["adding"], ["adding"])
    assert client.get("/deployments/adding").json["version"] == "2"
    assert client.get("/deployments/pinned").json["version"] == "1"
    refused(client.delete("/models/adder/aliases/champion"), 409, "alias_in_use")
    assert client.deploy("adding", version="3")["followed_alias"] is None
    assert client.delete("/models/adder/aliases/champion").status_code == 204


def test_a_refused_move_swaps_nothing(client: Client) -> None:
    move(client, 1)
    before = client.deploy("adding", alias="champion", follow=True)
    refused(move(client, 2, expected="3"), 409, "alias_changed")
    assert client.get("/deployments/adding").json["revision"] == before["revision"]


@pytest.mark.parametrize(
    ("wanted", "detail"),
    [
        ({"alias": "champion", "version": "1"}, "either a version or an alias"),
        ({"follow": True, "endpoint_name": "e"}, "name an alias"),
        ({"alias": "champion", "follow": True}, "name the endpoint"),
    ],
)
def test_what_can_not_be_followed_is_refused(client: Client, wanted: dict[str, Any], detail: str) -> None:
    move(client, 1)
    answer = client.post("/deployments/deploy", json={"model_name": "adder", **wanted})
    assert detail in refused(answer, 422, "settings_invalid")


def test_refusals_name_what_is_wrong(client: Client) -> None:
    refused(move(client, "9"), 404, "version_not_found")
    refused(client.get("/models/none/aliases"), 404, "model_not_found")
    refused(move(client, "1", alias="latest"), 422, "name_invalid")
    refused(client.get("/models/adder/aliases/champion"), 404, "alias_not_found")
    refused(client.get("/models/adder/aliases/champion/history"), 404, "alias_not_found")
    refused(client.delete("/models/adder/aliases/champion"), 404, "alias_not_found")
    refused(client.put("/models/none/aliases/champion", json={"version": "1"}), 404, "model_not_found")
    deploy = client.post("/deployments/deploy", json={"model_name": "adder", "alias": "champion"})
    refused(deploy, 404, "alias_not_found")
    refused(client.patch("/models/adder/tags", json={"tags": {"a b": "c"}}), 422, "name_invalid")
    refused(client.patch("/models/adder/tags", json={"tags": {"a": "c" * 1001}}), 422, "tags_invalid")
    move(client, 1)
    assert "champion" in refused(client.delete("/models/adder/versions/1"), 409, "version_aliased")


def test_a_move_rolls_out_on_endpoints_whose_settings_say_so(client: Client) -> None:
    move(client, 1)
    rollout = {"steps": [5, 100], "min_jobs": 10, "rules": {"disagreement": None}}
    view = client.deploy("adding", alias="champion", follow=True, rollout=rollout)
    assert view["settings"]["rollout"]["steps"] == [5, 100]
    assert view["following"]["text"] == "follows champion → version 1"
    client.deploy("swapping", alias="champion", follow=True)
    moved = move(client, 2).json
    assert (moved["swapped"], moved["rolling_out"]) == (["swapping"], ["adding"])
    shown = client.get("/deployments/adding/rollout").json
    assert (shown["version"], shown["steps"], shown["rules"]["disagreement"]) == ("2", [5, 100], None)
    client.post("/deployments/adding/rollout/abort", json={"reason": "no"})
    [listed] = [each for each in client.get("/deployments").json["deployments"] if each["endpoint_name"] == "adding"]
    assert listed["following"]["text"] == "follows champion → version 2, aborted; serves 1"
    assert listed["following"]["reason"] == "no"
    assert client.get("/models/adder/aliases/champion").json["version"] == "2"


def test_a_move_whose_rollout_has_no_jobs_to_evaluate_is_refused_whole(client: Client) -> None:
    move(client, 1)
    client.deploy("adding", alias="champion", follow=True, rollout={"start": "evaluation", "since": "1h"})
    detail = refused(move(client, 2), 409, "evaluation_refused")
    assert "journal has no jobs" in detail
    assert client.get("/models/adder/aliases/champion").json["version"] == "1"


def test_a_rollout_setting_that_can_not_be_is_refused(client: Client) -> None:
    move(client, 1)
    wanted = {"model_name": "adder", "endpoint_name": "e", "rollout": {"steps": [10, 5]}}
    assert "must grow" in refused(client.post("/deployments/deploy", json=wanted), 422, "settings_invalid")
    wanted["rollout"] = {"since": "1h"}
    assert "since" in refused(client.post("/deployments/deploy", json=wanted), 422, "settings_invalid")
