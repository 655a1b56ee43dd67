"""What `queuecast run` adds so that webhooks can be sent: a secret that stays the same, and receivers beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.cli.errors import StartFailed
from api.cli.local import webhook_settings
from api.cli.settings import CliSettings
from api.settings import AuthMode
from workers.webhooks.allowlist import Allowlist
from workers.webhooks.signing import secrets_of

SECRETS, HOSTS, NETWORKS = (f"QUEUECAST_WEBHOOK_{name}" for name in ("SECRETS", "HOSTS", "PRIVATE_NETWORKS"))


def test_the_first_start_makes_a_secret_that_only_its_user_can_read_and_the_next_ones_find_it(tmp_path: Path) -> None:
    settings = CliSettings(data_dir=tmp_path / "data")
    first = webhook_settings.variables(settings, {})
    assert secrets_of(first[SECRETS])
    path = webhook_settings.secret_file(settings)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().strip() == first[SECRETS] == webhook_settings.variables(settings, {})[SECRETS]


def test_receivers_on_this_machine_are_allowed_where_the_api_answers_this_machine_alone(tmp_path: Path) -> None:
    found = webhook_settings.variables(CliSettings(data_dir=tmp_path), {})
    allowlist = Allowlist.read(found[HOSTS], found[NETWORKS])
    for url in ("http://127.0.0.1:9000/", "http://localhost:8080/hook"):
        allowlist.check_url(url)
    allowlist.check_address("::1")
    assert webhook_settings.variables(CliSettings(data_dir=tmp_path, host="0.0.0.0"), {}).keys() == {SECRETS}


@pytest.mark.parametrize("auth", [AuthMode.ON, AuthMode.OFF])
def test_no_receivers_are_allowed_by_themselves_where_callers_may_be_elsewhere(tmp_path: Path, auth: AuthMode) -> None:
    assert webhook_settings.variables(CliSettings(data_dir=tmp_path, auth=auth), {}).keys() == {SECRETS}


def test_what_is_set_stays(tmp_path: Path) -> None:
    settings = CliSettings(data_dir=tmp_path / "data")
    assert webhook_settings.variables(settings, {SECRETS: "own", HOSTS: "hooks.example.com"}) == {}
    assert not (tmp_path / "data").exists()


def test_a_folder_that_takes_no_secret_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartFailed, match="webhook-secret"):
        webhook_settings.variables(CliSettings(data_dir=tmp_path / "file"), {})


def test_an_empty_file_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "webhook-secret").touch()
    with pytest.raises(StartFailed, match="delete it"):
        webhook_settings.variables(CliSettings(data_dir=tmp_path), {})
