"""Runs `uv`, which resolves, downloads and installs packages. It takes wheels only, so it runs no code of packages."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from registry.errors import EnvironmentsOff
from registry.settings import RegistrySettings

#: The variables that uv gets: no secrets of the service, but what it takes settings from, among them an index.
_KEPT = re.compile(r"PATH|HOME|USER|LANG|LC_.*|TMPDIR|SSL_.*|UV_.*|NETRC|.*_proxy", re.IGNORECASE)
#: What is before the last @ of a URL, since a password may have @ and /; and its query, which may be a token.
_CREDENTIALS, _QUERY = re.compile(r"//\S*@"), re.compile(r"(?<=//)([^\s?]*)\?[^\s)'`\"]*")
_SHOWN_LINES = 12
_SHOWN_CHARACTERS = 2_000


class UvFailed(Exception):
    """uv failed, took too long, or was stopped; the text has its last lines."""


class Uv:
    """uv with the settings of this process; one run at a time."""

    def __init__(
        self, settings: RegistrySettings, cache_folder: Path | None = None, timeout_s: float | None = None
    ) -> None:
        """Take settings, whose time limit a lower `timeout_s` replaces.

        Raises:
            EnvironmentsOff: they don't allow environments.
        """
        refuse_if_off(settings)
        self._timeout_s = min(settings.environment_timeout_s, timeout_s or settings.environment_timeout_s)
        self._wheels = settings.wheels
        #: Not in a home folder, which a service may lack.
        self._pythons = settings.environment_cache_dir / "python"
        self._cache_folder = cache_folder
        self._process: subprocess.Popen[str] | None = None
        self._is_stopped = threading.Event()

    @property
    def index(self) -> list[str]:
        """The options that say where packages come from: QUEUECAST_WHEELS, or what uv is configured for."""
        if not self._wheels or self._is_url:
            return []
        return ["--offline", "--no-index", "--find-links", str(Path(self._wheels).expanduser().absolute())]

    @property
    def _is_url(self) -> bool:
        return "://" in self._wheels

    def run(self, arguments: Sequence[str], content: str = "") -> str:
        """Run uv; return its output. Raises UvFailed."""
        cache = ["--no-cache"] if self._cache_folder is None else ["--cache-dir", str(self._cache_folder)]
        command = [_program(), *arguments, *cache, "--no-progress", "--color=never", "--no-config"]
        environment = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
        environment.setdefault("UV_PYTHON_INSTALL_DIR", str(self._pythons))
        if self._is_url:  # not as an argument, which others on this machine can read
            environment["UV_DEFAULT_INDEX"] = self._wheels
        if self._is_stopped.is_set():
            raise UvFailed("the worker is stopping")
        with subprocess.Popen(  # noqa: S603 - our own dependency
            command, env=environment, text=True, errors="replace", start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            self._process = process
            if self._is_stopped.is_set():  # since the check above
                _kill(process)
            try:
                output, errors = process.communicate(content, self._timeout_s)
            except subprocess.TimeoutExpired as error:
                raise UvFailed(f"it took longer than {self._timeout_s:g} s") from error
            finally:
                _kill(process)
                self._process = None
        if self._is_stopped.is_set():
            raise UvFailed("the worker is stopping")
        if process.returncode:
            raise UvFailed(last_lines(errors) or f"uv ended with status {process.returncode}")
        return output

    def stop(self) -> None:
        """Kill a run that is under way, and let no other one begin. Any thread may call it."""
        self._is_stopped.set()
        process = self._process
        if process is not None:
            _kill(process)


def refuse_if_off(settings: RegistrySettings) -> None:
    """Raise EnvironmentsOff where the settings don't allow environments."""
    if settings.environments != "on":
        raise EnvironmentsOff


def python_request(python: str) -> str:
    """Return what uv is asked for to get a Python: this process's own interpreter where that is the one."""
    if python == f"3.{sys.version_info.minor}" and sys.implementation.name == "cpython":
        return str(getattr(sys, "_base_executable", sys.executable))
    return python


def last_lines(text: str) -> str:
    """Return the last lines of uv's errors, without credentials of an index."""
    shown = _QUERY.sub(r"\1", _CREDENTIALS.sub("//", text))
    lines = [line.rstrip() for line in shown.splitlines() if line.strip()]
    return "\n".join(lines[-_SHOWN_LINES:])[-_SHOWN_CHARACTERS:]


def _program() -> str:
    try:
        import uv

        return uv.find_uv_bin()
    except (ImportError, OSError) as error:
        raise UvFailed("uv is not installed") from error


def _kill(process: subprocess.Popen[str]) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
