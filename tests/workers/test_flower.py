"""Starting Flower: a password if other machines can reach it, and no secrets in its command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.support.service.environment import clean_environment
from tests.support.service.ports import free_port
from tests.support.service.processes import Child
from tests.support.waiting import eventually
from workers.errors import SettingsWrong
from workers.flower import guard, launch
from workers.platform.loopback import is_loopback
from workers.platform.redis.client import records_client
from workers.settings import WorkerSettings


def settings(password: str = "", **more: Any) -> WorkerSettings:
    return WorkerSettings(flower_password=SecretStr(password), **more)


def test_on_loopback_it_needs_no_password_and_shows_its_api() -> None:
    found = launch.environment(settings(), {"HOME": "/"})
    assert found.items() >= {"HOME": "/", "FLOWER_UNAUTHENTICATED_API": "true"}.items()


def test_its_list_shows_arguments_unless_other_columns_are_wanted() -> None:
    assert "args" in launch.environment(settings(), {})["FLOWER_TASKS_COLUMNS"].split(",")
    wanted = {"FLOWER_TASKS_COLUMNS": "name,state"}
    assert launch.environment(settings(), wanted).items() >= wanted.items()


def test_a_password_is_in_its_environment_and_not_in_its_command() -> None:
    found = settings("secret word", flower_host="0.0.0.0")
    environment = launch.environment(found, {})
    assert environment["FLOWER_BASIC_AUTH"] == "queuecast:secret word"
    assert "FLOWER_UNAUTHENTICATED_API" not in environment
    assert "secret" not in " ".join(launch.command(found))
    assert "--address=0.0.0.0" in launch.command(found)


def test_without_a_password_it_does_not_start_where_others_can_come() -> None:
    with pytest.raises(SettingsWrong, match="QUEUECAST_FLOWER_PASSWORD"):
        launch.environment(settings(flower_host="0.0.0.0"), {"FLOWER_BASIC_AUTH": ""})


@pytest.mark.parametrize("name", ["FLOWER_BASIC_AUTH", "FLOWER_AUTH"])
def test_flowers_own_ways_to_ask_who_comes_are_left_alone(name: str) -> None:
    given = {name: "me:secret"}
    environment = launch.environment(settings(flower_host="0.0.0.0"), given)
    assert {key: value for key, value in environment.items() if key != "FLOWER_TASKS_COLUMNS"} == given


@pytest.mark.parametrize("read_only", [True, False])
def test_it_only_looks_unless_it_is_told_otherwise(read_only: bool) -> None:
    assert f"--read_only={str(read_only).lower()}" in launch.command(settings(flower_read_only=read_only))


HERE = "localhost:5555"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1:5555"},
        {"Host": "[::1]:5555"},
        {"Host": HERE, "Origin": f"http://{HERE}", "Sec-Fetch-Site": "same-origin"},
        {"Host": HERE, "Sec-Fetch-Site": "none"},
        {},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_a_password_programs_and_pages_of_its_own_are_let_in(method: str, headers: dict[str, str]) -> None:
    assert guard.refusal(method, headers) is None


def test_a_link_of_the_console_leads_to_it() -> None:
    assert guard.refusal("GET", {"Host": HERE, "Sec-Fetch-Site": "same-site"}) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:5555"},
        {"Host": "evil.example:5555", "Origin": "http://evil.example:5555"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": HERE, "Origin": "https://evil.example"},
        {"Host": HERE, "Origin": "null"},
        {"Host": HERE, "Sec-Fetch-Site": "cross-site"},
        {"Host": HERE, "Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_sites_are_refused(headers: dict[str, str]) -> None:
    assert guard.refusal("POST", headers) is not None


@pytest.mark.slow
def test_flower_itself_refuses_them_unless_it_asks_for_a_password(redis_url: str, data_dir: Path) -> None:
    port = free_port()
    for password, expected in (("", 403), ("secret", 200)):
        found = settings(password, flower_port=port, flower_read_only=False)
        env = launch.environment(
            found, clean_environment(QUEUECAST_REDIS_URL=redis_url, QUEUECAST_DATA_DIR=str(data_dir))
        )
        child = Child(launch.command(found), env=env, log_path=data_dir / f"flower{expected}.log")
        auth = httpx.BasicAuth("queuecast", password)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", auth=auth) as client:
                eventually(lambda: answers(client), 60)
                assert client.get("/api/tasks", headers={"Host": "evil.example"}).status_code == expected
                send = "/api/task/send-task/predict"
                refused = client.post(send, json={"args": []}, headers={"Origin": "https://evil.example"})
                assert refused.status_code == 403
                assert records_client().llen("queuecast") == 0
        finally:
            child.stop()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/api/tasks").status_code == 200
    except httpx.TransportError:
        return False


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
