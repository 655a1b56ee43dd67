"""What holds for both clients alike: their calls, and the environment that they read."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import api.client
from api.client import AsyncClient, Client, SettingsWrong

CALLS = sorted(name for name in dir(Client) if not name.startswith("_"))


def test_what_the_client_logs_has_one_name_in_a_clone_and_installed() -> None:
    sources = [path.read_text(encoding="utf-8") for path in Path(api.client.__file__).parent.rglob("*.py")]
    assert {name for text in sources for name in re.findall(r"getLogger\((.+?)\)", text)} == {'"queuecast_client"'}


def test_both_have_the_same_calls() -> None:
    assert sorted(name for name in dir(AsyncClient) if not name.startswith("_")) == CALLS


@pytest.mark.parametrize("name", CALLS)
def test_a_call_takes_the_same_arguments_in_both(name: str) -> None:
    blocking, awaited = getattr(Client, name), getattr(AsyncClient, name)
    if callable(blocking):
        assert _arguments(awaited) == _arguments(blocking)


def _arguments(call: Any) -> list[tuple[str, Any, Any]]:
    return [(each.name, each.kind, each.default) for each in inspect.signature(call).parameters.values()]


def test_the_environment_says_where_the_service_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUECAST_PORT", "9000")
    monkeypatch.setenv("QUEUECAST_URL", "")
    assert Client().url == "http://127.0.0.1:9000"
    monkeypatch.setenv("QUEUECAST_URL", "https://queuecast.example.com/")
    assert Client().url == "https://queuecast.example.com"
    assert Client("http://localhost:1").url == "http://localhost:1"


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1", "٣"])
def test_a_wrong_port_is_named(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.delenv("QUEUECAST_URL", raising=False)
    monkeypatch.setenv("QUEUECAST_PORT", port)
    with pytest.raises(SettingsWrong, match=f"QUEUECAST_PORT='{port}'"):
        Client()


def test_a_port_matters_only_without_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    # Kubernetes sets it so beside a service that is called queuecast.
    monkeypatch.setenv("QUEUECAST_PORT", "tcp://10.96.0.7:8000")
    assert Client("http://queuecast:8000").url == "http://queuecast:8000"


def test_a_key_is_shown_and_kept_out_of_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUECAST_API_KEY", "qc_secret")
    with Client() as client:
        assert client._address.headers == {"Authorization": "Bearer qc_secret"}
        assert "secret" not in repr(client) + repr(vars(client._address)["url"])
    with Client(api_key="") as without:
        assert without._address.headers == {}
