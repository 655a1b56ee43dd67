"""The environment: defaults, bounds, and errors that name the variable."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

import pytest

from tests.support.service.environment import forget_cached_settings
from workers import settings
from workers.errors import SettingsWrong
from workers.settings import WorkerSettings


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    forget_cached_settings()
    yield
    monkeypatch.undo()
    forget_cached_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EVENT_LOOP", "fast"),
        ("LEASE_S", "1"),
        ("LEASE_S", "soon"),
        ("LEASE_S", "nan"),
        ("LEASE_S", "inf"),
        ("RESULT_TTL_S", "0"),
        ("RESULT_TTL_S", "1.5"),
        ("RESULT_TTL_S", ""),
        ("UNFINISHED_TTL_S", "59"),
        ("RECENT_JOBS", "-1"),
        ("SWEEP_INTERVAL_S", "0"),
        ("RECONCILE_INTERVAL_S", "0"),
        ("SHUTDOWN_GRACE_S", "-1"),
        ("LOAD_TIMEOUT_S", "0"),
        ("HOST_THREADS", "0"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"QUEUECAST_{name}", value)
    with pytest.raises(SettingsWrong) as caught:
        settings.load()
    assert str(caught.value).startswith(f"QUEUECAST_{name}={value!r}: ")


@pytest.mark.parametrize("url", ["", "127.0.0.1:6379", "http://127.0.0.1", "redis://u:s3cret@h:port/0"])
def test_a_url_that_is_none_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("QUEUECAST_REDIS_URL", url)
    with pytest.raises(SettingsWrong, match=r"^QUEUECAST_REDIS_URL: ") as caught:
        settings.load()
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MESSAGE_KEY", "S3CRET"),
        ("REDIS_URL", "http://u:S3CRET@h"),
    ],
)
def test_a_wrong_secret_is_not_in_the_traceback_either(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"QUEUECAST_{name}", value)
    with pytest.raises(SettingsWrong, match=f"^QUEUECAST_{name}: ") as caught:
        settings.load()
    assert "S3CRET" not in "".join(traceback.format_exception(caught.value))


def test_variables_of_others_are_none_of_its_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUECAST_MAX_ARTIFACT_BYTES", "what")
    monkeypatch.setenv("QUEUECAST_SURPRISE", "1")
    settings.load()


@pytest.mark.parametrize(
    ("broker_url", "beside", "amqp"),
    [
        ("", True, False),
        ("redis://127.0.0.1:6390/0", True, False),
        ("redis://127.0.0.1:6390/1", False, False),
        ("amqp://u:p@h//", False, True),
        ("amqps://h", False, True),
        ("pyamqp://h", False, True),
    ],
)
def test_where_the_queues_are(broker_url: str, beside: bool, amqp: bool) -> None:
    found = WorkerSettings(redis_url="redis://127.0.0.1:6390/0", broker_url=broker_url)
    assert (found.queues_beside_records, found.broker_is_amqp) == (beside, amqp)
    assert found.queue_url == (broker_url or found.redis_url)
