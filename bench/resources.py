"""Processor time and memory of processes, children included."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import psutil


def family(pid: int, *, children: bool = True) -> list[psutil.Process]:
    """Return a process and its children, whatever depth."""
    parent = psutil.Process(pid)
    return [parent, *(parent.children(recursive=True) if children else ())]


def cpu_s(pid: int, *, children: bool = True) -> float:
    """Return the processor time that a process and its living children have used."""
    found = 0.0
    for each in family(pid, children=children):
        with contextlib.suppress(psutil.NoSuchProcess):
            found += sum(each.cpu_times()[:2])
    return found


def pss_mib(pid: int, *, children: bool = True) -> float:
    """Return the memory of a process and its children, shared pages counted once."""
    return float(sum(each.memory_full_info().pss for each in family(pid, children=children))) / 2**20


class CpuMeter:
    """Processor time by role, between its making and `used_ms`.

    Args:
        roles: role -> process id and whether its children count.
    """

    def __init__(self, roles: Mapping[str, tuple[int, bool]]) -> None:
        self._roles = dict(roles)
        self._before = dict(self._read())

    def used_ms(self) -> dict[str, float]:
        """Return the milliseconds that each role has used."""
        return {role: (now - self._before[role]) * 1000 for role, now in self._read()}

    def _read(self) -> Iterator[tuple[str, float]]:
        for role, (pid, children) in self._roles.items():
            yield role, cpu_s(pid, children=children)
