"""What a registration asks for, and the lock that it becomes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from registry.environments.environment import Environment
from registry.environments.locking import locked
from registry.environments.wanted import WantedEnvironment
from registry.errors import EnvironmentInvalid, EnvironmentsOff, EnvironmentUnresolvable
from registry.settings import RegistrySettings

HERE = f"3.{sys.version_info.minor}"
HASH = f"--hash=sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "either requirements or a lock"),
        ({"requirements": ["a"], "lock": f"a==1 {HASH}"}, "either requirements or a lock"),
        ({"requirements": ["a"], "pythons": "3.12"}, "no field 'pythons'"),
        ({"requirements": ["a"], "python": "3.8"}, 'from "3.9" on'),
        ({"requirements": ["a"], "python": "/usr/bin/python3"}, 'from "3.9" on'),
        ({"requirements": "a"}, "a list of texts"),
        ({"requirements": [1]}, "a list of texts"),
        ({"requirements": []}, "1 to 500 requirements"),
        ({"requirements": ["# nothing"]}, "1 to 500 requirements"),
        ({"requirements": ["a"] * 501}, "1 to 500 requirements"),
        ({"requirements": ["--index-url=https://example.org"]}, "no option, file or address"),
        ({"requirements": ["-r other.txt"]}, "no option, file or address"),
        ({"requirements": ["a @ https://example.org/a.whl"]}, "no option, file or address"),
        ({"requirements": ["../a"]}, "no option, file or address"),
        ({"requirements": ["a\n--pre"]}, "no option, file or address"),
        ({"lock": ""}, "a text of at most"),
        ({"lock": "a==1"}, "--hash=sha256:"),
        ({"lock": f"a>=1 {HASH}"}, "--hash=sha256:"),
        ({"lock": f"--index-url https://example.org\na==1 {HASH}"}, "--hash=sha256:"),
        ({"lock": f"a @ file:///a.whl {HASH}"}, "--hash=sha256:"),
    ],
)
def test_what_can_not_be_an_environment_is_refused_with_the_reason(document: dict[str, Any], reason: str) -> None:
    with pytest.raises(EnvironmentInvalid) as refused:
        WantedEnvironment.parse(document)
    assert reason in str(refused.value)


def test_requirements_are_cleaned_and_python_is_this_one_by_default() -> None:
    with_a_marker = "b[x,y]>=1,<2 ; python_version>'3.9'"
    wanted = WantedEnvironment.parse({"requirements": [with_a_marker, " a==1 # why", "", "a==1"]})
    assert wanted.requirements == ("a==1", with_a_marker)
    assert wanted.python == HERE
    assert WantedEnvironment.parse({"requirements": ["a"], "python": "pypy3.9"}).python == "pypy3.9"


def test_requirements_become_exact_versions_with_hashes(allowed: RegistrySettings) -> None:
    environment = locked({"requirements": ["polite"]}, allowed)
    assert environment.packages == ["greeting==1.0", "polite==1.0"]
    assert environment.python == HERE
    assert all("--hash=sha256:" in line for line in environment.lock.splitlines())


def test_equal_environments_are_one_however_they_are_asked_for(allowed: RegistrySettings) -> None:
    first = locked({"requirements": ["polite", "greeting"]}, allowed)
    again = locked({"requirements": ["greeting == 1.0", "polite"], "python": HERE}, allowed)
    assert first == again
    written = "# by hand\n" + first.lock.replace(" --hash", " \\\n    --hash")
    assert locked({"lock": written}, allowed) == first
    assert locked({"requirements": ["polite"], "python": "3.9"}, allowed).sha256 != first.sha256
    assert locked({"requirements": ["rude"]}, allowed).sha256 != first.sha256


def test_what_can_not_be_resolved_is_refused_with_the_last_lines_of_the_resolver(allowed: RegistrySettings) -> None:
    for requirements in (["polite", "rude"], ["absent"], ["greeting==3"]):
        with pytest.raises(EnvironmentUnresolvable) as refused:
            locked({"requirements": requirements}, allowed)
        assert "No solution found" in str(refused.value)
        assert requirements[-1].partition("=")[0] in str(refused.value)


def test_a_folder_of_wheels_that_is_not_there_is_named(allowed: RegistrySettings, tmp_path: Path) -> None:
    elsewhere = allowed.model_copy(update={"wheels": str(tmp_path / "nowhere")})
    with pytest.raises(EnvironmentUnresolvable, match="nowhere"):
        locked({"requirements": ["polite"]}, elsewhere)


def test_without_permission_nothing_is_resolved_and_the_setting_is_named() -> None:
    with pytest.raises(EnvironmentsOff, match="QUEUECAST_ENVIRONMENTS=on"):
        locked({"requirements": ["polite"]}, RegistrySettings())


def test_the_digest_depends_on_python_and_lock() -> None:
    found = {Environment.of(python, lock).sha256 for python in ("3.11", "3.12") for lock in ("a", "b")}
    assert len(found) == 4
