"""The environment of processes that run models: no URLs, no credentials, few threads, and no GPU unasked."""

from __future__ import annotations

import os

from registry.runtimes.models import devices
from registry.runtimes.models import threads as library_threads

#: The variables that these processes inherit.
_KEPT = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


def scrubbed(threads: int, folders: list[str], gpu: str | None = None) -> dict[str, str]:
    """Return an environment with at most `threads` threads per process and `folders` as PYTHONPATH.

    `gpu` is the only GPU that CUDA shows there: its index by PCI bus, or its UUID; by default it shows none.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    if folders:
        environment["PYTHONPATH"] = os.pathsep.join(folders)
    # One model must not use all cores.
    environment |= dict.fromkeys(library_threads.VARIABLES, str(threads))
    return environment | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", devices.VISIBLE: gpu or ""}


def configured_folders() -> list[str]:
    """Return the folders of this process's PYTHONPATH, absolute."""
    found = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [os.path.abspath(each) for each in found if each]  # noqa: PTH100 - like Python, without resolving links
