"""Keys in the console: made, shown once, listed and revoked, and what each role is shown."""

from __future__ import annotations

import re
from typing import Any

import pytest

from registry.roles import Role
from tests.api.conftest import Client, View
from tests.api.console.conftest import SetRole
from tests.api.console.pages import confirm, fields, page, problems, text_of


def make(client: Client, **typed: Any) -> Any:
    return client.post("/console/keys/new", data={**fields(client.get("/console/keys/new")), "role": "client", **typed})


def test_a_key_is_made_with_its_limits_and_its_text_is_shown_this_once(client: Client, adding: View) -> None:
    answer = make(client, name="shop", endpoint_names=["adding"], rate_limit_per_s="2.5")
    assert answer.status_code == 200, answer.text
    [text] = re.findall(r'<code id="key-text">(qc_[^<]+)</code>', answer.text)
    [key] = client.get("/keys").json["keys"]
    assert text.startswith(key["key_id"])
    assert (key["name"], key["role"], key["endpoint_names"], key["rate_limit_per_s"]) == (
        "shop", "client", ["adding"], 2.5,
    )  # fmt: skip
    shown = page(client, "/keys")
    assert f"shop client {key['key_id']}… adding 2" in shown
    assert "never Revoke…" in shown
    assert text not in client.get("/console/keys").text
    assert "The key of shop" not in page(client, "/keys/new")


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ({"name": ""}, "name", "at least 1 character"),
        ({"name": "a b\n"}, "name", "can't be the name"),
        ({"name": "there"}, "name", "has an API key"),
        ({"role": "king"}, "role", "client"),
        ({"rate_limit_per_s": "0"}, "rate_limit_per_s", "greater than 0"),
        ({"role": "admin", "endpoint_names": ["adding"]}, "endpoint_names", "Only keys of role client"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    client: Client, adding: View, typed: dict[str, Any], field: str, said: str
) -> None:
    make(client, name="there")
    answer = make(client, **{"name": "shop", **typed})
    assert answer.status_code in (409, 422)
    assert said in problems(answer)[field]
    assert [key["name"] for key in client.get("/keys").json["keys"]] == ["there"]


def test_a_second_key_replaces_the_first_which_is_revoked_after_a_question(client: Client) -> None:
    make(client, name="shop")
    [first] = client.get("/keys").json["keys"]
    assert make(client, name="shop", second="true").status_code == 200
    asked = f"/keys/{first['key_id']}/revoke"
    assert "Within a second or so it is refused everywhere" in page(client, asked)
    answer = confirm(client, asked)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/console/keys?done=revoke")
    assert first["key_id"] not in page(client, "/keys")
    assert "revoked" in page(client, "/keys?revoked=true").partition(first["key_id"])[2]
    page(client, asked, 404)


def test_a_service_that_asks_for_no_keys_says_so(client: Client) -> None:
    assert "This service asks for no key" in page(client, "/keys")
    assert "set QUEUECAST_AUTH=on" in text_of(make(client, name="shop"))


def test_each_role_is_shown_its_pages_and_buttons_alone(client: Client, adding: View, role_of: SetRole) -> None:
    for role, pages in (
        (Role.CLIENT, "Jobs Webhooks Try it"),
        (Role.OPERATOR, "Overview Models Evaluations Jobs Dead letters Webhooks Try it"),
        (Role.ADMIN, "Overview Models Evaluations Jobs Dead letters Webhooks Keys Try it"),
    ):
        role_of(role)
        assert f"Queuecast {pages} " in page(client, "/jobs")
        if role is not Role.CLIENT:
            assert ("Delete…" in page(client, "/models/adder")) is (role is Role.ADMIN)
            assert ("Register a version…" in page(client, "")) is (role is Role.ADMIN)
