"""Settings with environments, whose packages are tiny wheels in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.settings import RegistrySettings
from tests.support.environments.wheels import make_wheel


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for version in ("1.0", "2.0"):
        make_wheel(folder, "greeting", version)
    make_wheel(folder, "polite", "1.0", requires=["greeting<2"])
    make_wheel(folder, "rude", "1.0", requires=["greeting>=2"])
    return folder


@pytest.fixture
def allowed(tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> RegistrySettings:
    """Settings of a service that allows environments, with the environments of this test alone."""
    monkeypatch.setenv("QUEUECAST_ENVIRONMENTS", "on")
    monkeypatch.setenv("QUEUECAST_WHEELS", str(wheels))
    monkeypatch.setenv("QUEUECAST_ENVIRONMENT_CACHE_DIR", str(tmp_path / "environments"))
    return RegistrySettings()
