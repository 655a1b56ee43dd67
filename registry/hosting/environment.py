"""The environment of processes that run models: no URLs, no credentials, few threads."""

from __future__ import annotations

import os

#: The variables that these processes inherit.
_KEPT = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
#: One model must not use all cores; numerical libraries read these variables on import.
_THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def scrubbed(threads: int, folders: list[str]) -> dict[str, str]:
    """Return an environment with at most `threads` threads per process and `folders` as PYTHONPATH."""
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    if folders:
        environment["PYTHONPATH"] = os.pathsep.join(folders)
    return environment | dict.fromkeys(_THREAD_LIMITS, str(threads))


def configured_folders() -> list[str]:
    """Return the folders of this process's PYTHONPATH, absolute."""
    found = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return [os.path.abspath(each) for each in found if each]  # noqa: PTH100 - like Python, without resolving links
