"""Which GPUs a worker has: by its setting, by CUDA's variable, or by what nvidia-smi shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gpus.nvidia_smi import NAME, FakeNvidiaSmi
from workers.engine.gpus import devices, nvidia_smi
from workers.engine.gpus.nvidia_smi import Look
from workers.errors import SettingsWrong

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def smi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeNvidiaSmi]:
    found = FakeNvidiaSmi(tmp_path_factory.mktemp("smi") / "bin", 24_000, 16_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", found.path)
        yield found


@pytest.fixture(scope="module")
def look(smi: FakeNvidiaSmi) -> Look:
    """What it shows before anything uses a GPU."""
    found = nvidia_smi.look()
    assert found is not None
    return found


def test_what_nvidia_smi_shows_is_read(smi: FakeNvidiaSmi) -> None:
    smi.use(1, {4_711: 300, 4_712: 500})
    found = nvidia_smi.look()
    smi.use(1, {})
    assert found is not None
    assert [(each.index, each.name, each.memory_bytes, each.used_bytes) for each in found.gpus] == [
        ("0", NAME, 24_000 * MEBIBYTE, 4 * MEBIBYTE),
        ("1", NAME, 16_000 * MEBIBYTE, 804 * MEBIBYTE),
    ]
    assert found.used_bytes == {(smi.uuids[1], 4_711): 300 * MEBIBYTE, (smi.uuids[1], 4_712): 500 * MEBIBYTE}


@pytest.mark.parametrize(
    ("setting", "environment", "expected"),
    [
        ("", {}, ["0", "1"]),
        ("", {"CUDA_VISIBLE_DEVICES": "1"}, ["1"]),
        ("", {"CUDA_VISIBLE_DEVICES": ""}, []),
        ("", {"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ("", {"CUDA_VISIBLE_DEVICES": "1,0"}, ["1", "0"]),
        ("", {"CUDA_VISIBLE_DEVICES": " 1 , 0 "}, ["1", "0"]),
        # As CUDA reads it, the list ends at the first entry that is no GPU.
        ("", {"CUDA_VISIBLE_DEVICES": "0,-1,1"}, ["0"]),
        ("", {"CUDA_VISIBLE_DEVICES": "0,7,1"}, ["0"]),
        ("", {"CUDA_VISIBLE_DEVICES": "0,,1"}, ["0"]),
        ("", {"CUDA_VISIBLE_DEVICES": "1,none,0"}, ["1"]),
        ("", {"CUDA_VISIBLE_DEVICES": "7,0"}, []),
        ("", {"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, []),
        # One that is there twice voids it.
        ("", {"CUDA_VISIBLE_DEVICES": "0,0"}, []),
        ("", {"CUDA_VISIBLE_DEVICES": "0,GPU-00000001"}, []),
        ("", {"CUDA_VISIBLE_DEVICES": "MIG-5c89852c,MIG-5c89852c"}, []),
        # But not behind the end.
        ("", {"CUDA_VISIBLE_DEVICES": "0,7,0"}, ["0"]),
        ("", {"CUDA_VISIBLE_DEVICES": "GPU-00000002"}, ["GPU-00000002-0000-0000-0000-000000000000"]),
        ("", {"CUDA_VISIBLE_DEVICES": "GPU-0000000"}, []),
        ("", {"CUDA_VISIBLE_DEVICES": "MIG-5c89852c"}, ["MIG-5c89852c"]),
        ("GPU-00000002", {}, ["GPU-00000002-0000-0000-0000-000000000000"]),
        ("1", {"CUDA_VISIBLE_DEVICES": "0"}, ["1"]),
        ("0, 1,", {}, ["0", "1"]),
        ("none", {}, []),
        ("MIG-5c89852c", {}, ["MIG-5c89852c"]),
    ],
)
def test_the_gpus_of_a_worker(look: Look, setting: str, environment: dict[str, str], expected: list[str]) -> None:
    found = devices.of_worker(setting, environment, look)
    assert [each.id for each in found] == expected
    assert all(each.memory_bytes for each in found if not each.id.startswith("MIG-"))


def test_a_gpu_can_be_named_by_its_uuid(look: Look, smi: FakeNvidiaSmi) -> None:
    [found] = devices.of_worker(smi.uuids[1], {}, look)
    assert (found.id, found.memory_bytes) == (smi.uuids[1], 16_000 * MEBIBYTE)


def test_a_gpu_that_is_named_twice_is_one(look: Look, smi: FakeNvidiaSmi) -> None:
    both = f"1,{smi.uuids[1]},0"
    assert [each.id for each in devices.of_worker(both, {}, look)] == ["1", "0"]


def test_a_gpu_that_is_not_there_is_named_with_those_that_are(look: Look, smi: FakeNvidiaSmi) -> None:
    with pytest.raises(SettingsWrong, match=rf"QUEUECAST_GPUS='0,7': there is no GPU 7; .* 1 \({smi.uuids[1]}\)"):
        devices.of_worker("0,7", {}, look)
    with pytest.raises(SettingsWrong, match="there is no GPU GPU-0000000;"):  # both begin so
        devices.of_worker("GPU-0000000", {}, look)


def test_without_nvidia_smi_there_are_those_that_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not nvidia_smi.is_there()
    assert nvidia_smi.look() is None
    assert devices.of_worker("", {}, None) == []
    assert [(each.id, each.memory_bytes) for each in devices.of_worker("0,1", {}, None)] == [("0", None), ("1", None)]


def test_a_driver_that_fails_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed: the driver is not running.'\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert nvidia_smi.look() is None
    assert "the driver is not running" in caplog.text
