"""Tries models before their registration: in a fresh process, with the artifact that will be stored."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from registry import errors
from registry.errors import ModelLoadFailed, RegistryError
from registry.hosting import environment, own_packages
from registry.hosting.trial_process import ANSWER, ARTIFACT, FORK, LOG, ONCE, REQUEST

#: Libraries of macOS may crash in forked children.
_HOW = FORK if hasattr(os, "fork") and sys.platform != "darwin" else ONCE
#: The folder of this package is on the path only while the package is imported, because the training program's modules
#: may be in the same folder.
_PROGRAM = own_packages.import_from_argument("how") + "from registry.hosting.trial_process import main; main(how)"
_SHOWN_OUTPUT_BYTES = 4_000
_END_TIMEOUT_S = 5.0


class Trials:
    """Tries models, one at a time, in processes that it starts when needed; thread-safe."""

    def __init__(self, how: str = _HOW) -> None:
        self._how = how
        self._lock = threading.Lock()
        self._process: _Process | None = None

    def run(self, artifact: bytes, request: Mapping[str, Any], timeout_s: float) -> None:
        """Load an artifact and predict its example.

        Args:
            artifact: the artifact that will be stored.
            request: `runtime`, `runtime_options`, `signature` and `input_example` of the version.
            timeout_s: time limit of loading and predicting together.

        Raises:
            ModelLoadFailed: the model can't be loaded, fails on its example, takes too long or ends its process.
            InputInvalid, OutputInvalid, RuntimeUnavailable: raised by the runtime.
        """
        with tempfile.TemporaryDirectory(prefix="queuecast-") as name:
            folder = Path(name)
            (folder / ARTIFACT).write_bytes(artifact)
            (folder / REQUEST).write_text(json.dumps(request), encoding="utf-8")
            with self._lock:
                waited = self._process is not None
                status, output = self._ended(folder, timeout_s)
                if waited and not (folder / LOG).exists():  # the process exited before this trial
                    status, output = self._ended(folder, timeout_s)
            _raise_result(folder, status, output)

    def close(self) -> None:
        """Stop the process that waits for the next trial."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def forget(self) -> None:
        """Forget the process in a fork of the program that has started it."""
        if self._process is not None:
            self._process.leave()
        self._lock = threading.Lock()  # a thread of the parent may hold the old one
        self._process = None

    def _ended(self, folder: Path, timeout_s: float) -> tuple[int, str]:
        """Return the exit status of a trial, and the output of its process."""
        try:
            status = self._running().status_of(folder, timeout_s)
            if status is not None:
                return status, ""
            ended = self._running().end()
            self._process = None
        except BaseException:  # a time-out or Ctrl-C: the model may still run
            if self._process is not None and self._how == ONCE:
                self._process.kill()
            self.close()
            raise
        return ended

    def _running(self) -> _Process:
        wanted = environment.scrubbed(1, environment.configured_folders())
        if self._process is not None and self._process.environment != wanted:
            self.close()
        if self._process is None:
            self._process = _Process(self._how, wanted)
        return self._process


class _Process:
    """A process that tries models."""

    def __init__(self, how: str, wanted: dict[str, str]) -> None:
        self.environment = wanted
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed at its end
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-P", "-c", _PROGRAM, own_packages.PLACE, how],
            env=wanted,
            cwd=tempfile.gettempdir(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            bufsize=0,
            start_new_session=True,
        )

    def status_of(self, folder: Path, timeout_s: float) -> int | None:
        """Return the exit status of a trial; None if the process has exited. Raises ModelLoadFailed on a time-out."""
        answers = self._process.stdout
        assert self._process.stdin is not None  # noqa: S101 - both are pipes
        assert answers is not None  # noqa: S101
        try:
            self._process.stdin.write(os.fsencode(folder) + b"\n")
        except BrokenPipeError:
            return None
        ends_at = time.monotonic() + timeout_s
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([answers], [], [], max(0.0, ends_at - time.monotonic()))
            if not ready:
                raise ModelLoadFailed(f"Loading the model and predicting its example took longer than {timeout_s:g} s.")
            more = os.read(answers.fileno(), 64)
            if not more:
                return None
            line += more
        return int(line)

    def end(self) -> tuple[int, str]:
        """Stop the process and its trial; return its exit status and the end of its output."""
        self._close_pipes()  # the process then kills its trial and exits
        try:
            status = self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            status = -signal.SIGKILL
        self.kill()
        self._process.wait()
        with self._output:
            return status, _end_of(self._output)

    def kill(self) -> None:
        """Kill the process, but not its forked trials, which have their own process groups."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def leave(self) -> None:
        """Forget the process without stopping it."""
        self._close_pipes()
        self._output.close()
        self._process.returncode = 0  # it is not a child of this process

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _raise_result(folder: Path, status: int, output: str) -> None:
    log = folder / LOG
    if log.exists():
        with log.open("rb") as file:
            output = _end_of(file)
    if not (folder / ANSWER).exists():
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"
        shown = f" Its last output: {output}" if output else ""
        raise ModelLoadFailed(f"While trying the model, its process ended {how}.{shown}")
    answer = json.loads((folder / ANSWER).read_bytes())
    if answer:
        error = _error(answer)
        error.add_note(f"In the process that tried the model:\n{output}")
        raise error


def _error(described: Mapping[str, Any]) -> RegistryError:
    """Recreate an error of this package that was raised in the other process."""
    kind = getattr(errors, described["type"], ModelLoadFailed)
    error: RegistryError = kind.__new__(kind, described["message"])
    vars(error).update(described["attributes"])
    return error


def _end_of(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _SHOWN_OUTPUT_BYTES))
    return file.read().decode(errors="replace").strip()


_default = Trials()
atexit.register(_default.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_default.forget)


def default_trials() -> Trials:
    """Return the trials of this process."""
    return _default
