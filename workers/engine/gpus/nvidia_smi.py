"""Asks `nvidia-smi` which GPUs there are and what processes use of them; CUDA is never touched in a worker."""

from __future__ import annotations

import csv
import logging
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_log = logging.getLogger(__name__)

_PROGRAM = "nvidia-smi"
_TIMEOUT_S = 30.0
_FORMAT = "--format=csv,noheader,nounits"
_GPUS = "--query-gpu=index,uuid,name,memory.total,memory.used"
_PROCESSES = "--query-compute-apps=gpu_uuid,pid,used_memory"
_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class SeenGpu:
    """One GPU as nvidia-smi shows it; memory is None where it isn't shown."""

    index: str
    uuid: str
    name: str
    memory_bytes: int | None
    used_bytes: int | None


@dataclass(frozen=True, slots=True)
class Look:
    """The GPUs of the machine, and the memory of processes on each (bytes)."""

    gpus: Sequence[SeenGpu] = ()
    #: By the UUID of the GPU and the process id. In a container, nvidia-smi may show no processes.
    used_bytes: Mapping[tuple[str, int], int] = field(default_factory=dict)


def is_there() -> bool:
    """Whether the program is on the PATH."""
    return shutil.which(_PROGRAM) is not None


def look() -> Look | None:
    """Return what nvidia-smi shows; None, with the reason in the log, if it fails. May take seconds."""
    try:
        gpus = [_gpu(row) for row in _rows(_GPUS)]
        used = [_process(row) for row in _rows(_PROCESSES)] if gpus else []
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        _log.warning("nvidia-smi failed (%s): the GPUs of this machine are unknown", _reason(error))
        return None
    return Look(gpus, {(uuid, pid): used_bytes for uuid, pid, used_bytes in used if used_bytes is not None})


def _rows(query: str) -> list[list[str]]:
    program = shutil.which(_PROGRAM)
    if program is None:
        raise FileNotFoundError(_PROGRAM)
    done = subprocess.run(  # noqa: S603 - the driver's own program
        [program, query, _FORMAT], capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=True
    )
    return [row for row in csv.reader(done.stdout.splitlines(), skipinitialspace=True) if row]


def _gpu(row: Sequence[str]) -> SeenGpu:
    index, uuid, name, memory, used = row
    return SeenGpu(index, uuid, name, _bytes(memory), _bytes(used))


def _process(row: Sequence[str]) -> tuple[str, int, int | None]:
    uuid, pid, used = row
    return uuid, int(pid), _bytes(used)


def _bytes(mebibytes: str) -> int | None:
    return int(mebibytes) * _MEBIBYTE if mebibytes.isdecimal() else None  # "[N/A]", "[Not Supported]"


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        shown = (error.stdout or error.stderr or "").strip().splitlines()
        return shown[-1] if shown else f"status {error.returncode}"
    return str(error)
