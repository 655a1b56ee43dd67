from __future__ import annotations

from typing import Any

import pytest

from registry.errors import SettingsInvalid
from registry.serving.settings import ServingSettings, hosts_range


def test_defaults() -> None:
    assert ServingSettings().model_dump() == {
        "max_batch_size": None,
        "target_latency_ms": None,
        "max_batch_delay_ms": 2.0,
        "hosts": 1,
        "idle_s": None,
        "target_wait_s": None,
        "timeout_s": 60.0,
        "max_memory_mb": None,
        "gpu": 0.0,
        "max_attempts": 3,
        "max_queue_length": 100_000,
        "max_queue_bytes": None,
        "expires_in_s": None,
        "result_ttl_s": None,
        "keep_failed_inputs": True,
        "callback_url": None,
        "journal": 0.0,
        "journal_retention_days": 30,
        "journal_exclude": [],
        "rollout": None,
        "events": "full",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_batch_size", 0),
        ("max_batch_size", 4097),
        ("max_batch_size", 2.5),
        ("max_batch_size", True),
        ("max_batch_size", "null"),
        ("max_batch_size", "64"),
        ("max_batch_size", "Auto"),
        ("target_latency_ms", 0.5),
        ("target_latency_ms", 600_001),
        ("target_latency_ms", "fast"),
        ("max_batch_delay_ms", -1),
        ("max_batch_delay_ms", float("nan")),
        ("hosts", "2"),
        ("hosts", 0),
        ("hosts", {"min": 0}),
        ("hosts", {"min": 3, "max": 2}),
        ("hosts", {"min": 0, "max": 65}),
        ("hosts", {"min": 0, "max": 0}),
        ("idle_s", 0),
        ("gpu", -0.1),
        ("gpu", 0.001),
        ("gpu", 1.5),
        ("gpu", 2),
        ("gpu", True),
        ("gpu", "1"),
        ("target_wait_s", 0),
        ("timeout_s", 0),
        ("timeout_s", float("inf")),
        ("max_attempts", 21),
        ("events", "some"),
        ("journal", 1.5),
        ("journal_retention_days", 0),
        ("journal_exclude", "email"),
        ("journal_exclude", ["customer..email"]),
        ("rollout", {"step": [1]}),
        ("rollout", {"min_jobs": "5"}),
        ("rollout", {"since": "yesterday", "start": "evaluation"}),
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


def test_what_a_batch_size_can_be_is_said_in_one_sentence() -> None:
    with pytest.raises(SettingsInvalid) as refused:
        ServingSettings.parse({"max_batch_size": "64"})
    expected = 'Setting max_batch_size: should be a whole number from 1 to 4096, or "auto".'
    assert str(refused.value) == expected


def test_a_latency_target_needs_batches_that_can_follow_it() -> None:
    auto = ServingSettings().changed({"max_batch_size": "auto", "target_latency_ms": 50})
    assert auto.latency_target_ms == 50
    with pytest.raises(SettingsInvalid, match='Set max_batch_size to "auto"'):
        ServingSettings().changed({"target_latency_ms": 50})
    with pytest.raises(SettingsInvalid, match="no effect with max_batch_size 64"):
        auto.changed({"max_batch_size": None, "target_latency_ms": 20})
    with pytest.raises(SettingsInvalid, match="no effect with max_batch_size 8"):
        auto.changed({"max_batch_size": 8, "target_latency_ms": 20})


def test_a_fixed_batch_size_ends_the_target_that_auto_had() -> None:
    auto = ServingSettings().changed({"max_batch_size": "auto", "target_latency_ms": 50})
    assert auto.changed({"target_latency_ms": 20}).target_latency_ms == 20
    assert auto.changed({"hosts": 2}).target_latency_ms == 50
    assert auto.changed({"max_batch_size": 8}) == ServingSettings(max_batch_size=8)
    assert auto.changed({"max_batch_size": None}) == ServingSettings()


def test_without_a_target_of_its_own_auto_has_one() -> None:
    assert ServingSettings(max_batch_size="auto").latency_target_ms == 100


def test_without_a_size_batches_have_as_many_rows_as_releases_had_that_wrote_their_default() -> None:
    assert [ServingSettings.stored(stored).batch_rows for stored in ({}, {"max_batch_size": 64})] == [64, 64]
    assert "max_batch_size" not in ServingSettings().model_dump(exclude_none=True)


def test_a_range_of_hosts_is_a_number_in_the_row_for_releases_without_ranges() -> None:
    settings = ServingSettings.parse({"hosts": {"min": 0, "max": 4}, "idle_s": 60.0})
    row = settings.row()
    assert row["hosts"] == 1
    assert ServingSettings.stored(row) == settings
    assert ServingSettings.parse({"hosts": {"min": 2, "max": 4}}).row()["hosts"] == 2
    assert (settings.least_hosts, settings.first_hosts, settings.most_hosts) == (0, 1, 4)


def test_a_number_that_a_release_without_ranges_has_written_counts() -> None:
    row = ServingSettings.parse({"hosts": {"min": 0, "max": 4}, "idle_s": 60.0}).row()
    after = ServingSettings.stored({**row, "hosts": 3})
    assert after == ServingSettings(hosts=3)
    assert after.complete() is after


@pytest.mark.parametrize("stored", ["0-4", {"min": 0}, {"min": 9, "max": 4, "hosts": 1}, {"hosts": 1}])
def test_an_unreadable_range_of_a_row_is_no_reason_to_serve_nothing(stored: Any) -> None:
    assert ServingSettings.stored({"hosts": 1, "hosts_range": stored, "timeout_s": 5}) == ServingSettings(timeout_s=5)


def test_what_only_ranges_have_is_refused_beside_a_number_and_goes_with_the_range() -> None:
    with pytest.raises(SettingsInvalid, match="idle_s: it has no effect with hosts 1"):
        ServingSettings.parse({"idle_s": 60}).complete()
    before = ServingSettings.parse({"hosts": {"min": 0, "max": 4}, "target_wait_s": 2}).complete()
    assert before.changed({"hosts": 2}) == ServingSettings(hosts=2)
    assert before.changed({"timeout_s": 5}).target_wait_s == 2
    with pytest.raises(SettingsInvalid, match="target_wait_s"):
        before.changed({"hosts": 2, "target_wait_s": 3})


@pytest.mark.parametrize(
    ("text", "found"), [("0-4", {"min": 0, "max": 4}), (" 1-2 ", {"min": 1, "max": 2}), ("4", None)]
)
def test_people_write_a_range_with_a_dash(text: str, found: Any) -> None:
    assert hosts_range(text) == found
