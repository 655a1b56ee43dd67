"""What a model can find out about its process."""

from __future__ import annotations

import importlib
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np


def environment() -> dict[str, str]:
    return dict(os.environ)


def own_environ_file() -> str:
    return Path("/proc/self/environ").read_bytes().decode(errors="replace")


def open_descriptors() -> dict[str, str]:
    """What each descriptor is, without the one that reads this."""
    found = {}
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found[descriptor.name] = str(descriptor.readlink())
        except FileNotFoundError:
            continue
    return found


def descriptors_of_a_program() -> list[str]:
    """What a program that a model starts without care inherits."""
    text = subprocess.check_output(
        "for each in /proc/self/fd/*; do readlink $each; done; true", shell=True, close_fds=False
    )
    return text.decode().split()


def modules_path() -> list[str]:
    return sys.path


def threads_of_libraries() -> str:
    return os.environ["OMP_NUM_THREADS"]


def random_number() -> float:
    return float(np.random.random())  # noqa: NPY002 - what models use


def process_id() -> int:
    return os.getpid()


def core_limit() -> int:
    return resource.getrlimit(resource.RLIMIT_CORE)[0]


def out_of_memory_score() -> int:
    return int(Path("/proc/self/oom_score_adj").read_text())


def write_to_the_channel(text: str) -> str:
    """Send something of its own to the worker."""
    for name, what in open_descriptors().items():
        if what.startswith("socket:"):
            os.write(int(name), text.encode("latin-1"))
    return "sent"


def attribute_of(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def modules() -> list[str]:
    return list(sys.modules)
