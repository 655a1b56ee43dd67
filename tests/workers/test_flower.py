"""How Flower is started: its password where others can reach it, and nothing secret in its command."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from workers import flower
from workers.errors import SettingsWrong
from workers.loopback import is_loopback
from workers.settings import WorkerSettings


def settings(password: str = "", **more: Any) -> WorkerSettings:
    return WorkerSettings(flower_password=SecretStr(password), **more)


def test_on_loopback_it_needs_no_password_and_shows_its_api() -> None:
    found = flower.environment(settings(), {"HOME": "/"})
    assert found.items() >= {"HOME": "/", "FLOWER_UNAUTHENTICATED_API": "true"}.items()


def test_its_list_shows_arguments_unless_other_columns_are_wanted() -> None:
    assert "args" in flower.environment(settings(), {})["FLOWER_TASKS_COLUMNS"].split(",")
    wanted = {"FLOWER_TASKS_COLUMNS": "name,state"}
    assert flower.environment(settings(), wanted).items() >= wanted.items()


def test_a_password_is_in_its_environment_and_not_in_its_command() -> None:
    found = settings("secret word", flower_host="0.0.0.0")
    environment = flower.environment(found, {})
    assert environment["FLOWER_BASIC_AUTH"] == "queuecast:secret word"
    assert "FLOWER_UNAUTHENTICATED_API" not in environment
    assert "secret" not in " ".join(flower.command(found))
    assert "--address=0.0.0.0" in flower.command(found)


def test_without_a_password_it_does_not_start_where_others_can_come() -> None:
    with pytest.raises(SettingsWrong, match="QUEUECAST_FLOWER_PASSWORD"):
        flower.environment(settings(flower_host="0.0.0.0"), {"FLOWER_BASIC_AUTH": ""})


@pytest.mark.parametrize("name", ["FLOWER_BASIC_AUTH", "FLOWER_AUTH"])
def test_flowers_own_ways_to_ask_who_comes_are_left_alone(name: str) -> None:
    given = {name: "me:secret"}
    environment = flower.environment(settings(flower_host="0.0.0.0"), given)
    assert {key: value for key, value in environment.items() if key != "FLOWER_TASKS_COLUMNS"} == given


@pytest.mark.parametrize("read_only", [True, False])
def test_it_only_looks_unless_it_is_told_otherwise(read_only: bool) -> None:
    assert f"--read_only={str(read_only).lower()}" in flower.command(settings(flower_read_only=read_only))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("", False),
        ("0.0.0.0", False),
        ("::", False),
        ("::ffff:192.0.2.1", False),
        ("192.0.2.1", False),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org", False),
    ],
)
def test_loopback_is_what_nobody_else_can_reach(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
