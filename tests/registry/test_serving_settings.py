from __future__ import annotations

from typing import Any

import pytest

from registry.errors import SettingsInvalid
from registry.serving_settings import ServingSettings


def test_defaults() -> None:
    assert ServingSettings().model_dump() == {
        "max_batch_size": 64,
        "max_batch_delay_ms": 2.0,
        "hosts": 1,
        "timeout_s": 60.0,
        "max_memory_mb": None,
        "max_attempts": 3,
        "max_queue_length": 100_000,
        "expires_in_s": None,
        "result_ttl_s": None,
        "events": "full",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_batch_size", 0),
        ("max_batch_size", 4097),
        ("max_batch_size", 2.5),
        ("max_batch_size", True),
        ("max_batch_delay_ms", -1),
        ("max_batch_delay_ms", float("nan")),
        ("hosts", "2"),
        ("timeout_s", 0),
        ("timeout_s", float("inf")),
        ("max_attempts", 21),
        ("events", "some"),
        ("events", True),
        ("batch_size", 4),
    ],
)
def test_a_setting_out_of_bounds_or_unknown_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(SettingsInvalid, match=name):
        ServingSettings.parse({name: value})


def test_changing_named_settings_keeps_the_others() -> None:
    before = ServingSettings(hosts=2, timeout_s=5)
    assert before.changed({"timeout_s": 7}) == ServingSettings(hosts=2, timeout_s=7)
