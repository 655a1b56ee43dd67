"""`queuecast keys` on a database that has nothing in it yet; the key that other commands show the service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry import migrate
from registry.access import api_keys
from registry.database import default_database
from tests.cli.conftest import Command
from tests.cli.fake_service import FakeService
from tests.support.service.environment import forget_cached_settings


@pytest.fixture(autouse=True)
def own_database(data_dir: Path) -> Path:
    """Each test has a folder of its own, and an empty registry in it."""
    migrate.upgrade()
    return data_dir / "registry.db"


def test_the_first_key_is_made_in_a_new_registry_on_request(command: Command, own_database: Path) -> None:
    own_database.unlink()
    made = command("keys", "create", "me", "--role", "admin", "--new-registry")
    assert made.exit_code == 0, made.stderr
    with default_database().session() as session:
        found = api_keys.find(session, made.stdout.strip())
    assert found is not None
    assert (found.name, found.role) == ("me", api_keys.Role.ADMIN)
    assert "can't be shown again" in made.stderr


@pytest.mark.parametrize(
    "words", [("keys", "create", "me"), ("keys", "list"), ("keys", "revoke", "me"), ("backup", "x")], ids=" ".join
)
def test_in_another_folder_no_command_makes_a_registry(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.delenv("QUEUECAST_DATA_DIR")
    forget_cached_settings()
    refused = command(*words)
    assert refused.exit_code == 1
    assert f"There is no registry in {elsewhere}/data/registry.db" in refused.stderr
    assert "QUEUECAST_DATA_DIR" in refused.stderr
    assert "DATABASE_URL" in refused.stderr
    assert not any(elsewhere.iterdir())


def test_a_database_without_tables_is_no_registry_either(command: Command, own_database: Path) -> None:
    migrate.downgrade(None, "base")
    refused = command("keys", "create", "me", "--json")
    assert json.loads(refused.stderr)["code"] == "registry_absent"


def test_a_new_key_says_that_a_running_api_asks_for_none(command: Command, service: FakeService) -> None:
    service.on("GET", "/v2", {"name": "queuecast"})
    said = command("keys", "create", "me").stderr
    assert f"The API at {service.url} asks for no keys" in said
    assert "QUEUECAST_AUTH=on" in said
    document = json.loads(command("keys", "create", "me2", "--json").stdout)
    assert document["keys_asked_for"] is False


def test_a_new_key_says_that_a_running_api_asks_for_keys(command: Command, service: FakeService) -> None:
    service.on("GET", "/v2", {"error": "no key"}, status=401)
    assert f"The API at {service.url} asks for keys" in command("keys", "create", "me").stderr


@pytest.mark.parametrize(
    ("host", "auth", "asks"),
    [("127.0.0.1", "auto", False), ("127.0.0.1", "on", True), ("0.0.0.0", "auto", True), ("127.0.0.1", "off", False)],
)
def test_while_no_api_runs_a_new_key_says_what_the_settings_mean(
    command: Command, service: FakeService, monkeypatch: pytest.MonkeyPatch, host: str, auth: str, asks: bool
) -> None:
    service.close()
    monkeypatch.setenv("QUEUECAST_HOST", host)
    monkeypatch.setenv("QUEUECAST_AUTH", auth)
    forget_cached_settings()
    made = command("keys", "create", "me", "--json")
    document = json.loads(made.stdout)
    assert document["keys_asked_for"] is asks
    assert f"QUEUECAST_HOST={host}, QUEUECAST_AUTH={auth}" in document["note"]


def test_keys_are_listed_without_their_texts_and_revoked_by_name_or_id(command: Command) -> None:
    text = command("keys", "create", "shop", "--endpoint", "a", "--endpoint", "b", "--rate", "2.5").stdout.strip()
    command("keys", "create", "shop", "--second")
    listed = command("keys", "list")
    assert text[12:] not in listed.stdout
    assert ["shop" in line for line in listed.stdout.splitlines()] == [False, True, True]
    assert "a, b" in listed.stdout
    assert "2.5/s" in listed.stdout
    assert f"{text[:11]}… of shop is revoked." in command("keys", "revoke", text[:11]).stdout
    assert len(json.loads(command("keys", "list", "--json").stdout)["keys"]) == 1
    assert len(json.loads(command("keys", "revoke", "shop", "--json").stdout)["keys"]) == 1
    assert "No keys." in command("keys", "list").stderr
    assert len(json.loads(command("keys", "list", "--revoked", "--json").stdout)["keys"]) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "a b"), "letters, digits"),
        (("create", "shop", "--role", "operator", "--endpoint", "a"), "role client"),
        (("create", "shop", "--rate", "0"), "rate limit"),
        (("revoke", "nobody"), "nobody"),
    ],
)
def test_what_can_not_be_is_refused_with_the_reason(command: Command, words: tuple[str, ...], said: str) -> None:
    refused = command("keys", *words)
    assert refused.exit_code == 1
    assert said in refused.stderr


def test_a_database_that_can_not_be_reached_is_said(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
    forget_cached_settings()
    refused = command("keys", "list")
    assert refused.exit_code == 1
    assert "database" in refused.stderr
    assert "secret" not in refused.stderr


def test_help_teaches_the_first_key(command: Command) -> None:
    said = command("keys", "--help").stdout
    assert "queuecast keys create me --role admin" in said
    assert "need no key and no running service" in said
