from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry import settings
from registry.errors import SettingsWrong


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QUEUECAST_DATA_DIR", raising=False)
    settings.load.cache_clear()
    yield
    settings.load.cache_clear()


def test_everything_stands_below_the_data_folder_by_default(tmp_path: Path) -> None:
    loaded = settings.load()
    assert loaded.data_dir == tmp_path / "data"
    assert loaded.database_url == f"sqlite:///{tmp_path}/data/registry.db"
    assert loaded.artifacts_url == f"{tmp_path}/data/artifacts"
    assert loaded.artifact_cache_dir == tmp_path / "data" / "artifact-cache"


def test_each_part_can_be_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://host/db")
    monkeypatch.setenv("QUEUECAST_DATA_DIR", "elsewhere")
    monkeypatch.setenv("QUEUECAST_ARTIFACTS_URL", "s3://bucket/artifacts")
    monkeypatch.setenv("QUEUECAST_ARTIFACT_CACHE_DIR", "")
    loaded = settings.load()
    assert loaded.database_url == "postgresql://host/db"
    assert loaded.artifacts_url == "s3://bucket/artifacts"
    assert loaded.artifact_cache_dir == tmp_path / "elsewhere" / "artifact-cache"


@pytest.mark.parametrize("variable", ["QUEUECAST_DATA_DIR", "QUEUECAST_ARTIFACT_CACHE_DIR"])
def test_a_folder_of_an_unknown_user_is_refused_by_name(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "~nobody-of-this-name/data")
    with pytest.raises(SettingsWrong, match=f"^{variable}: .*contains an unknown user"):
        settings.load()
