"""Aliases and tags in the console: shown beside versions, moved after a confirmation, found by a search."""

from __future__ import annotations

import re

import pytest

from api.http.route import access_of
from registry.roles import Role
from tests.api.conftest import Client, View
from tests.api.console.pages import confirm, fields, page, problems, text_of

MODEL = "/console/models/adder"
MOVE = f"{MODEL}/move-alias"


@pytest.fixture
def followed(client: Client, adding: View) -> None:
    """Two versions; "champion" names the first, and the endpoint "adding" follows it."""
    client.register(version="2")
    assert client.put("/models/adder/aliases/champion", json={"version": "1"}).status_code == 200
    client.deploy(alias="champion", follow=True)


def named(client: Client) -> dict[str, str]:
    """Which version each alias names."""
    return {each["alias"]: each["version"] for each in client.get("/models/adder/aliases").json["aliases"]}


@pytest.mark.usefixtures("followed")
def test_the_model_shows_its_aliases_beside_the_versions_and_who_follows_them(client: Client) -> None:
    shown = page(client, "/models/adder")
    assert "1 champion python" in shown
    assert "champion 1 " in shown
    assert "adding Move… History" in shown
    assert "follows champion" in page(client, "/deployments/adding")
    assert "follows champion" in page(client, "")


@pytest.mark.usefixtures("followed")
def test_a_move_says_who_swaps_and_swaps_them_after_a_confirmation(client: Client) -> None:
    asked = text_of(client.get(MOVE, query_string={"alias": "champion", "expected": "1"}))
    assert "Move champion of adder It names version 1 now." in asked
    review = client.get(MOVE, query_string={"alias": "champion", "expected": "1", "version": "2"})
    assert "adding follows it, and swaps to version 2" in text_of(review)
    assert named(client) == {"champion": "1"}
    sent = fields(review)
    assert sent.items() >= {"alias": "champion", "version": "2", "expected": "1"}.items()
    answer = client.post(MOVE, data=sent)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{MODEL}?done=alias")
    assert named(client) == {"champion": "2"}
    view = client.get("/deployments/adding").json
    assert (view["version"], view["followed_alias"]) == ("2", "champion")
    history = page(client, "/models/adder/aliases/champion")
    assert "It names version 2" in history
    assert "1 2 anonymous" in history
    assert "none: it was made 1 anonymous" in history


@pytest.mark.usefixtures("followed")
def test_a_move_says_who_rolls_out_and_the_pages_say_what_came_of_it(client: Client) -> None:
    client.patch("/deployments/adding", json={"rollout": {"steps": [5, 100]}})
    review = client.get(MOVE, query_string={"alias": "champion", "expected": "1", "version": "2"})
    assert "adding follows it, and rolls version 2 out as its settings say" in text_of(review)
    assert client.post(MOVE, data=fields(review)).status_code == 303
    assert client.post("/deployments/adding/rollout/abort", json={}).status_code == 200
    for shown in (page(client, "/deployments/adding"), page(client, "")):
        assert re.search(r"follows champion → version 2, aborted; serves 1", shown), shown


@pytest.mark.usefixtures("followed")
def test_a_move_that_another_was_faster_with_is_refused_and_asked_again(client: Client) -> None:
    review = client.get(MOVE, query_string={"alias": "champion", "expected": "1", "version": "2"})
    client.register(version="3")
    client.put("/models/adder/aliases/champion", json={"version": "3"})
    answer = client.post(MOVE, data=fields(review))
    assert answer.status_code == 409
    assert "names version 3; it was expected to name version 1" in problems(answer)[""]
    assert fields(answer)["expected"] == "3"
    assert named(client) == {"champion": "3"}


def test_a_new_alias_is_made_and_what_is_wrong_is_said_at_its_field(client: Client, adding: View) -> None:
    assert "No version has a movable name" in page(client, "/models/adder")
    assert "Name a version of adder" in text_of(client.get(MOVE))
    wrong = client.get(MOVE, query_string={"alias": "latest", "version": "1"})
    assert wrong.status_code == 422
    assert "reserved" in problems(wrong)["alias"]
    gone = client.get(MOVE, query_string={"alias": "staging", "version": "9"})
    assert problems(gone).keys() == {"version"}
    review = client.get(MOVE, query_string={"alias": "staging", "version": "1"})
    assert "Make staging of adder? It names version 1 then. No endpoint follows it" in text_of(review)
    assert client.post(MOVE, data=fields(review)).status_code == 303
    assert named(client) == {"staging": "1"}
    again = client.get(MOVE, query_string={"alias": "staging", "version": "1"})
    assert "it was expected not to exist" in problems(again)[""]


@pytest.mark.usefixtures("followed")
def test_an_alias_is_deleted_unless_an_endpoint_follows_it(client: Client) -> None:
    refused = client.get(f"{MODEL}/aliases/champion/delete")
    assert "It can't be deleted while adding follows it" in text_of(refused)
    data = fields(client.get(f"{MODEL}/versions/2/deploy"))
    answer = client.post(f"{MODEL}/aliases/champion/delete", data={"form_mark": data["form_mark"]})
    assert (answer.status_code, named(client)) == (409, {"champion": "1"})
    client.put("/models/adder/aliases/old", json={"version": "2"})
    assert confirm(client, "/models/adder/aliases/old/delete").status_code == 303
    assert named(client) == {"champion": "1"}
    assert "This alias was deleted" in page(client, "/models/adder/aliases/old")
    page(client, "/models/adder/aliases/never", 404)


@pytest.mark.usefixtures("followed")
def test_what_ends_the_following_says_so(client: Client) -> None:
    asked = page(client, "/deploy?model_name=adder&version=2&endpoint_name=adding")
    assert "It stops following the alias champion" in asked
    asked = page(client, "/deployments/adding/rollback?to_revision=1")
    assert "It follows an alias only if revision 1 did, and if that alias names version 1 now." in asked
    confirm(client, "/deployments/adding/rollback?to_revision=1", "/deployments/adding/rollback")
    assert client.get("/deployments/adding").json["followed_alias"] is None


def test_models_are_found_by_their_names_and_tags(client: Client, adding: View) -> None:
    client.register("other")
    client.patch("/models/adder/tags", json={"tags": {"owner": "risk"}})
    client.patch("/models/other/versions/1/tags", json={"tags": {"reviewed": "yes"}})
    client.put("/models/other/aliases/champion", json={"version": "1"})
    everything = page(client, "/models")
    assert "other 1 1 champion 1" in everything
    assert "owner=risk" in everything
    assert "owner=risk" in page(client, "/models/adder")
    assert "reviewed=yes" in page(client, "/models/other")

    def found(address: str) -> list[str]:
        shown = client.get(f"/console/models?{address}").text
        return [name for name in ("adder", "other") if f'href="/console/models/{name}"' in shown]

    assert found("q=ADD") == ["adder"]
    assert found("tag=owner%3Drisk") == ["adder"]
    assert found("tag=reviewed%3Dyes&q=o") == ["other"]
    assert found("tag=owner%3Dsales") == []
    assert "No model has that" in page(client, "/models?q=nothing")
    wrong = client.get("/console/models?tag=owner")
    assert wrong.status_code == 422
    assert "Type a tag as name=value" in problems(wrong)["tag"]


@pytest.mark.usefixtures("followed")
def test_operators_move_aliases_by_a_form_of_the_console(client: Client) -> None:
    review = client.get(MOVE, query_string={"alias": "champion", "expected": "1", "version": "2"})
    assert client.post(MOVE, data={**fields(review), "form_mark": "wrong"}).status_code == 403
    assert named(client) == {"champion": "1"}
    pages = [name for name in client.application.view_functions if name.startswith("console.aliases.")]
    assert "console.aliases.move" in pages
    assert {access_of(client.application, name).role for name in pages} == {Role.OPERATOR}
