"""The memory that a worker's hosts may use by default: a share of the machine's, or of the cgroup's if that is less."""

from __future__ import annotations

from pathlib import Path

from workers.engine.memory.budget import MEBIBYTE

#: The rest is for the worker itself, the API and Redis, and for the kernel's cache.
_SHARE = 0.8
#: The share of a budget that stays free: what hosts use changes between two measurements.
MARGIN_SHARE = 0.04
#: cgroup v2 and v1.
_CGROUP_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def limit_bytes(worker_memory_mb: int | None) -> int | None:
    """Return the budget of a setting in MiB: 0 is none, None the default; None if no limit is known."""
    if worker_memory_mb is not None:
        return worker_memory_mb * MEBIBYTE or None
    known = [size for size in (_machine_bytes(), *map(_cgroup_bytes, _CGROUP_FILES)) if size]
    return int(min(known) * _SHARE) if known else None


def _machine_bytes() -> int | None:
    for line in _text("/proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == "MemTotal":
            return int(value.split()[0]) * 1024
    return None


def _cgroup_bytes(path: str) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None  # "max" is no limit


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except OSError:
        return ""
