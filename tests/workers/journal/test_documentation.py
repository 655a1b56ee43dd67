"""The Python blocks of docs/guides/journal.md read what the journal exports."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.documentation import text_of
from tests.workers.journal.conftest import NOON, End
from workers.journal import reading, rows
from workers.journal.files import dataset


def block(word: str) -> str:
    """The one Python block of the guide that has a word."""
    [found] = [each for each in re.findall(r"```python\n(.*?)```", text_of("journal.md"), re.DOTALL) if word in each]
    return str(found)


@pytest.fixture
def exported(end: End, journal_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An export of jobs of which one has failed, in the current folder."""
    end(["a", "bb"])
    end(["ccc"], failed="no reason")
    found = list(reading.found_rows("adding", since=NOON - 1))
    assert len(found) == 3
    path = tmp_path / "jobs.parquet"
    path.write_bytes(dataset.encoded(rows.exported_table("adding", found)))
    monkeypatch.chdir(tmp_path)
    return path


def test_pandas_reads_an_export_as_the_guide_says(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    exec(block("describe()"), names)
    assert len(names["jobs"]) == 3
    assert sorted(names["rows"][0]) == [1.0, 2.0, 3.0]
    assert "count" in capsys.readouterr().out


def test_the_frame_for_evidently_has_inputs_and_predictions_of_jobs_that_succeeded(exported: Path) -> None:
    # Evidently itself is not installed for tests: it takes a gigabyte with all that it needs.
    program = re.sub(r"^from evidently.*\n", "", block("evidently"), flags=re.MULTILINE).split("\nreport =")[0]
    names: dict[str, Any] = {}
    exec(program, names)
    frame = names["frame"](exported)
    assert sorted(frame["x0"]) == sorted(frame["prediction"]) == [1.0, 2.0]
