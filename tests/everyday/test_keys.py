"""API keys on loopback, as the guide of security has them: what a new key says, and what it is worth when shown."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from tests.everyday.conftest import Follow, KeyedApi
from tests.support.service.stack import Stack


def test_a_limited_key_is_limited_on_loopback_too(service: Stack, follow: Follow) -> None:
    said = follow("security.md", "create a key")
    assert f"The API at {service.url} asks for no keys" in said
    assert "QUEUECAST_AUTH=on" in said
    answers = follow("security.md", "show the key").replace("}{", "}\n{").splitlines()
    assert [json.loads(each)["code"] for each in answers] == ["role_insufficient", "api_key_invalid"]


def test_an_api_that_is_started_with_auth_on_asks_for_keys(keyed: KeyedApi) -> None:
    """Its process was started by the block "ask for keys" of the guide."""
    assert httpx.get(f"http://127.0.0.1:{keyed.port}/deployments").json()["code"] == "api_key_missing"
    assert keyed.api.get("/deployments").status_code == 200


def test_keys_create_in_another_folder_makes_no_registry(service: Stack, tmp_path: Path) -> None:
    refused = service.run("-c", f"import os; os.chdir({str(tmp_path)!r}); os.environ.pop('QUEUECAST_DATA_DIR');"
                          "import sys; sys.argv = ['queuecast', 'keys', 'create', 'me'];"
                          "from api.cli.command import main; main()", check=False)  # fmt: skip
    assert refused.returncode == 1
    assert f"There is no registry in {tmp_path}/data/registry.db" in refused.stderr
    assert "QUEUECAST_DATA_DIR" in refused.stderr
    assert not any(tmp_path.iterdir())
