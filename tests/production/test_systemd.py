"""The systemd units: valid, hardened, and the same commands and variables as elsewhere."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.production.chart import values
from tests.support.service.environment import REPOSITORY
from tests.test_readme import settings

UNITS = sorted((REPOSITORY / "docs" / "systemd").glob("*.service"))
PROGRAM = "/opt/queuecast/bin/queuecast"
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def service(unit: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=False)  # some options may come more than once
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit, encoding="utf-8")
    return parser["Service"]


def verified(unit: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Have systemd check a copy of a unit whose program is the one of this environment."""
    copy = folder / unit.name
    program = Path(sys.executable).with_name("queuecast")
    copy.write_text(unit.read_text(encoding="utf-8").replace(PROGRAM, str(program)), encoding="utf-8")
    return subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=30, check=False
    )


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    found = verified(unit, tmp_path)
    assert (found.returncode, [line for line in found.stderr.splitlines() if "queuecast" in line]) == (0, [])


@needs_systemd
def test_a_misspelt_option_of_a_unit_would_be_found(tmp_path: Path) -> None:
    unit = tmp_path / "misspelt" / "queuecast-web.service"
    unit.parent.mkdir()
    web = next(each for each in UNITS if each.stem == "queuecast-web")
    unit.write_text(web.read_text(encoding="utf-8").replace("Restart=", "Restarts="), encoding="utf-8")
    assert "Restarts" in verified(unit, tmp_path).stderr


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_exposed_less_than_a_service_without_hardening(unit: Path, tmp_path: Path) -> None:
    copy = tmp_path / unit.name.replace("@", "@default")
    shutil.copy(unit, copy)
    shown = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(copy)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", shown.stdout)
    assert level, shown.stderr
    # A unit with no option at all is at 9.6.
    assert float(level[1]) < 5.5


def test_there_is_a_unit_for_each_process_and_for_the_migration() -> None:
    commands = {service(unit)["ExecStart"].removeprefix(f"{PROGRAM} ").split()[0] for unit in UNITS}
    assert commands == {"web", "worker", "background", "flower", "migrate"}
    assert all(service(unit)["ExecStart"].startswith(f"{PROGRAM} ") for unit in UNITS)


def test_units_name_variables_that_are_read() -> None:
    known = {name for name, _ in settings()}
    named = [service(unit).get("Environment", "").split("=")[0] for unit in UNITS]
    assert {name for name in named if name} <= known


def test_a_worker_has_longer_to_stop_than_its_predictions_have() -> None:
    [unit] = [each for each in UNITS if "@" in each.name]
    assert float(service(unit)["TimeoutStopSec"]) >= float(values()["settings"]["QUEUECAST_SHUTDOWN_GRACE_S"]) + 15
    assert service(unit)["KillMode"] == "mixed", "a worker stops its hosts itself"
    assert service(unit)["LimitNICE"] == "+0", "else hosts that load can't give way to those that serve"


def test_the_guide_puts_the_program_where_the_units_have_it() -> None:
    guide = (REPOSITORY / "docs" / "guides" / "production.md").read_text(encoding="utf-8")
    [created] = re.findall(r"^python3\S* -m venv (\S+)$", guide, re.MULTILINE)
    assert f"{created}/bin/queuecast" == PROGRAM
    assert ".venv" not in guide.replace("`.venv/redis-servers`", "")
