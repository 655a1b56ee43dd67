"""The steps of one job's time: they add up, whatever marks there are."""

from __future__ import annotations

import pytest

from bench.models import FOREST, QUADRATIC
from bench.studies.profiles.breakdown import STEPS, split, table
from bench.summary import Sample

MARKS = {
    "accepted": 10.1,
    "stored": 10.2,
    "fetched": 10.4,
    "claimed": 10.5,
    "finished": 11.0,
    "read": 11.1,
    "answered": 11.2,
}


def test_the_steps_add_up_to_the_whole_time() -> None:
    steps = dict(split(10.0, MARKS, 0.3))
    assert list(steps) == list(STEPS)
    assert sum(steps.values()) == pytest.approx(1.2)
    assert steps["predicted"] == 0.3
    assert steps["finished"] == pytest.approx(0.2)


def test_a_mark_that_is_missing_lengthens_the_next_step() -> None:
    marks = {name: at for name, at in MARKS.items() if name not in ("fetched", "read")}
    steps = dict(split(10.0, marks, 0.3))
    assert steps["claimed"] == pytest.approx(0.3)
    assert steps["answered"] == pytest.approx(0.2)
    assert sum(steps.values()) == pytest.approx(1.2)


def test_the_table_has_each_step_of_both_models_and_its_share() -> None:
    found = [
        Sample("step_stored", QUADRATIC, "queuecast", 0, 1.0),
        Sample("step_answered", QUADRATIC, "queuecast", 0, 3.0),
    ]
    found.append(Sample("step_stored", FOREST, "queuecast", 0, 2.0))
    lines = table(found)
    assert lines[3] == "| API: message made, record and message stored in Redis | 1.00 | 25% | 2.00 | 100% |"
    assert lines[-1] == "| all | 4.00 | 100% | 2.00 | 100% |"
    assert table([]) == []
