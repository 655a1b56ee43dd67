"""The tests that `make test-fast` leaves out since they took long when they were measured: a list in a file.

`make slower-tests` measures all candidates again and writes the list; a new test is fast until then.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import mean

import pytest

from tests.support.service.environment import REPOSITORY

FILE = REPOSITORY / "tests" / "slower_tests.txt"
#: Of a test with parameters, the mean of its runs counts.
LONGEST_S = 0.06
_HEAD = f"# Tests that took longer than {LONGEST_S} s; `make slower-tests` writes this file.\n"


def listed() -> frozenset[str]:
    """Return the tests of the list, each as `file::test`, without parameters."""
    return frozenset(line for line in FILE.read_text().splitlines() if not line.startswith("#"))


def name_of(node_id: str) -> str:
    """Return a test's name in the list."""
    return node_id.partition("[")[0]


class Measuring:
    """A plugin that writes the list from the tests of this run, which is to leave none of the candidates out."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up what a test took, with its fixtures."""
        self._seconds[report.nodeid] += report.duration

    def pytest_sessionfinish(self) -> None:
        """Write the list."""
        runs: dict[str, list[float]] = defaultdict(list)
        for node_id, seconds in self._seconds.items():
            runs[name_of(node_id)].append(seconds)
        slower = sorted(name for name, seconds in runs.items() if mean(seconds) > LONGEST_S)
        FILE.write_text(_HEAD + "".join(f"{name}\n" for name in slower))
