"""The settings of webhooks: nothing is sent by default, and a wrong value is named."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

import pytest

from tests.support.service.environment import forget_cached_settings
from workers.errors import SettingsWrong, TargetRefused
from workers.webhooks import settings
from workers.webhooks.signing import new_secret


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    forget_cached_settings()
    yield
    monkeypatch.undo()
    forget_cached_settings()


@pytest.mark.parametrize("value", ["S3CRET", "whsec_S3CRET"])
def test_a_wrong_secret_is_named_and_not_repeated_in_the_traceback(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("QUEUECAST_WEBHOOK_SECRETS", value)
    with pytest.raises(SettingsWrong, match=r"^QUEUECAST_WEBHOOK_SECRETS: ") as caught:
        settings.load()
    assert "S3CRET" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("name", "value"), [("WEBHOOK_HOSTS", "a.example b.example/x"), ("WEBHOOK_PRIVATE_NETWORKS", "10.0.0.1/8")]
)
def test_where_webhooks_may_go_is_checked_at_the_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"QUEUECAST_{name}", value)
    with pytest.raises(SettingsWrong) as caught:
        settings.load()
    assert str(caught.value).startswith(f"QUEUECAST_{name}={value!r}: ")
    assert repr(value.rpartition(" ")[2]) in str(caught.value)


def test_unless_told_otherwise_webhooks_are_not_signed_and_may_go_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings.load()
    assert found.keys == ()
    with pytest.raises(TargetRefused, match="QUEUECAST_WEBHOOK_HOSTS"):
        found.allowlist.check_url("https://hooks.example.com/")


def test_what_webhooks_are_signed_with_and_where_they_may_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUECAST_WEBHOOK_SECRETS", f"{new_secret()},{new_secret()}")
    monkeypatch.setenv("QUEUECAST_WEBHOOK_HOSTS", "http://hooks.internal")
    monkeypatch.setenv("QUEUECAST_WEBHOOK_PRIVATE_NETWORKS", "10.1.0.0/16")
    found = settings.load()
    assert len(found.keys) == 2
    assert "whsec_" not in repr(found)
    found.allowlist.check_url("http://hooks.internal/x")
    found.allowlist.check_address("10.1.0.1")
