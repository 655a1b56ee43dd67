"""`queuecast keys` on a database that has nothing in it yet; the key that other commands show the service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry.access import api_keys
from registry.database import default_database
from tests.cli.conftest import Command
from tests.support.environment import forget_cached_settings


@pytest.fixture(autouse=True)
def _own_database(data_dir: Path) -> None:
    """Each test has a folder of its own, and no database in it."""


def test_the_first_key_is_made_in_an_empty_database_and_is_all_that_is_written(command: Command) -> None:
    made = command("keys", "create", "me", "--role", "admin")
    assert made.exit_code == 0, made.stderr
    with default_database().session() as session:
        found = api_keys.find(session, made.stdout.strip())
    assert found is not None
    assert (found.name, found.role) == ("me", api_keys.Role.ADMIN)
    assert "can't be shown again" in made.stderr


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
