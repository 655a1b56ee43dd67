"""A worker's environments: built by uv when first needed, limited in size; the least recently used go first.

Several processes share a folder. One builds at a time, in a folder that is renamed into place when it is whole, so that
a build that is killed leaves nothing that counts. A process that uses an environment locks its file, so that others
don't delete it. Builds share uv's cache: environments hold the same files as it and each other (hard links), and it
goes as a whole, before any environment, when room is needed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from registry.artifacts import private_files
from registry.environments.environment import Environment
from registry.environments.uv import Uv, UvFailed, python_request, refuse_if_off
from registry.errors import EnvironmentBuildFailed
from registry.settings import RegistrySettings

_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNFINISHED = "unfinished-"
_FACTS, _LOCK, _PYTHON = "queuecast.json", "lock.txt", "bin/python"
_IN_USE = ".in-use"
_BUILDING = "building.lock"
#: uv's cache, on the same file system as the environments, whose files are links to it.
_DOWNLOADS = "downloads"
_FULL = os.strerror(errno.ENOSPC)
_LOCK_INTERVAL_S = 0.1

ReportProgress = Callable[[str], None]


class HeldEnvironment:
    """An environment that is not deleted until it is released or this object is garbage-collected."""

    def __init__(self, folder: Path, locked: IO[bytes]) -> None:
        #: Its interpreter.
        self.python = str(folder / _PYTHON)
        self._release = weakref.finalize(self, locked.close)

    def release(self) -> None:
        """Allow deleting it when room is needed; further calls do nothing."""
        self._release()


class EnvironmentCache:
    """The environments of this machine's workers; safe for concurrent processes.

    Those in use stay, even if they exceed the settings' limit.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._folder = settings.environment_cache_dir
        self._uv: Uv | None = None
        self._is_closed = False

    def held(self, sha256: str) -> HeldEnvironment | None:
        """Return an environment that is built already, held; else None. Doesn't wait for a build.

        Raises:
            EnvironmentsOff: the settings don't allow environments.
            EnvironmentBuildFailed: the folder can't be used.
        """
        refuse_if_off(self._settings)
        with _translated_errors(sha256):
            return self._held(sha256)

    def _held(self, sha256: str) -> HeldEnvironment | None:
        folder = self._folder / sha256
        if _recorded_size_bytes(folder) is None:
            return None
        locked = (self._folder / f"{sha256}{_IN_USE}").open("ab")
        fcntl.flock(locked, fcntl.LOCK_SH)
        if not (folder / _FACTS).is_file():  # another process has just deleted it
            locked.close()
            return None
        os.utime(folder / _FACTS)
        return HeldEnvironment(folder, locked)

    def hold(self, environment: Environment, report: ReportProgress = lambda _: None) -> HeldEnvironment:
        """Return an environment, held; build it if it isn't there, after the builds of other processes.

        Raises:
            EnvironmentsOff: the settings don't allow environments.
            EnvironmentBuildFailed: it can't be built; the message has the installer's last lines.
        """
        self._uv = Uv(self._settings)
        with _translated_errors(environment.sha256):
            if (found := self._held(environment.sha256)) is not None:
                return found
            private_files.make_folder(self._folder.parent)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            report("waiting for another build")
            with self._one_build():
                if (found := self._held(environment.sha256)) is None:
                    self._build(environment, report)
                    found = self._held(environment.sha256)
        if found is None:
            raise EnvironmentBuildFailed(environment.sha256, "another process has deleted it.")
        return found

    def close(self) -> None:
        """Kill the build that is under way; start no other one. Any thread may call it."""
        self._is_closed = True
        if self._uv is not None:
            self._uv.stop()

    @contextmanager
    def _one_build(self) -> Iterator[None]:
        """Hold the lock of the builder, which a process that is killed loses."""
        with (self._folder / _BUILDING).open("ab") as file:
            while True:
                if self._is_closed:
                    raise UvFailed("the worker is stopping")
                with suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(_LOCK_INTERVAL_S)
            # Builders that were killed have left these: no other one has the lock now.
            for each in self._folder.glob(f"{_UNFINISHED}*"):
                shutil.rmtree(each, ignore_errors=True)
            yield

    def _build(self, environment: Environment, report: ReportProgress) -> None:
        had_downloads = (self._folder / _DOWNLOADS).exists()
        try:
            self._build_once(environment, report)
        except (UvFailed, OSError) as error:
            if not _is_for_want_of_disk(error):
                raise
            self._delete_downloads()  # else they would keep the disk full
            if not had_downloads:
                raise
            report("building again: the disk was full of downloads")
            self._build_once(environment, report)

    def _build_once(self, environment: Environment, report: ReportProgress) -> None:
        assert self._uv is not None  # noqa: S101 - `hold` has made it
        final = self._folder / environment.sha256
        if final.exists() and not self._delete_unless_used(final):
            raise UvFailed("its folder is damaged, and another process uses it")
        place = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self._folder))
        try:
            uv = self._uv = Uv(self._settings, self._folder / _DOWNLOADS)
            if self._is_closed:
                raise UvFailed("the worker is stopping")
            folder, lock = place / "environment", place / _LOCK
            lock.write_text(environment.lock, encoding="utf-8")
            report(f"getting Python {environment.python}")
            offline = ["--no-python-downloads", "--offline"] if "--offline" in uv.index else []
            python = python_request(environment.python)
            uv.run(["venv", "--quiet", "--no-project", *offline, "--python", python, str(folder)])
            report(f"installing {len(environment.packages)} packages")
            uv.run([
                "pip", "sync", "--quiet", "--require-hashes", "--only-binary", ":all:", "--allow-empty-requirements",
                "--link-mode", "hardlink", "--python", str(folder / _PYTHON), *uv.index, str(lock),
            ])  # fmt: skip
            size_bytes = _size_bytes(folder)
            self._make_room(size_bytes)
            facts = {"size_bytes": size_bytes, "python": environment.python, "packages": environment.packages}
            _write_to_disk(folder / _FACTS, json.dumps(facts))
            folder.rename(final)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _make_room(self, size_bytes: int) -> None:
        """Delete downloads and unused environments until the rest fits beside a new one; delete damaged ones always."""
        for folder in self._folders():
            if _recorded_size_bytes(folder) is None:
                self._delete_unless_used(folder)
        found = sorted(self._built())
        too_many_bytes = sum(size for _, size, _ in found) + size_bytes - self._settings.environment_cache_max_bytes
        if too_many_bytes + _own_size_bytes(self._folder / _DOWNLOADS) > 0:
            # First, so that deleting an environment frees its disk: no file of it is in the cache, too.
            self._delete_downloads()
        for _, size, folder in found:
            if too_many_bytes <= 0:
                return
            if self._delete_unless_used(folder):
                too_many_bytes -= size

    def _delete_downloads(self) -> None:
        """Delete uv's cache as a whole: it may rely on any of its files. Only the builder may do so."""
        away = self._folder / f"{_UNFINISHED}{_DOWNLOADS}"
        shutil.rmtree(away, ignore_errors=True)
        # Renamed at once, so that a process that is killed here leaves no cache with some of its files missing.
        with suppress(FileNotFoundError):
            (self._folder / _DOWNLOADS).rename(away)
        shutil.rmtree(away, ignore_errors=True)

    def _folders(self) -> list[Path]:
        return [each for each in self._folder.iterdir() if _SHA256.fullmatch(each.name) and each.is_dir()]

    def _built(self) -> Iterator[tuple[float, int, Path]]:
        for folder in self._folders():
            if (size_bytes := _recorded_size_bytes(folder)) is not None:
                yield (folder / _FACTS).stat().st_mtime, size_bytes, folder

    def _delete_unless_used(self, folder: Path) -> bool:
        with (self._folder / f"{folder.name}{_IN_USE}").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            # First what makes it count: a process that is killed here leaves a folder that the next build replaces.
            (folder / _FACTS).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
        return True


@contextmanager
def _translated_errors(sha256: str) -> Iterator[None]:
    try:
        yield
    except UvFailed as error:
        raise EnvironmentBuildFailed(sha256, str(error)) from error
    except OSError as error:
        # The whole text of an error may name folders of the machine.
        reason = error.strerror or "its files can't be read or written"
        raise EnvironmentBuildFailed(sha256, f"{reason}.") from error


def _recorded_size_bytes(folder: Path) -> int | None:
    """Return the size of an environment by its facts; None if it is unfinished: the facts are missing or damaged."""
    try:
        return int(json.loads((folder / _FACTS).read_text(encoding="utf-8"))["size_bytes"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _write_to_disk(path: Path, text: str) -> None:
    """Write a file that is whole if it is there after a loss of power."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _own_size_bytes(folder: Path) -> int:
    """Return what deleting a folder frees: the size of its files that have no other name, e.g. in an environment."""
    files = (Path(place, name).lstat() for place, _, names in os.walk(folder) for name in names)
    return sum(file.st_size for file in files if file.st_nlink == 1)


def _is_for_want_of_disk(error: Exception) -> bool:
    return _FULL in str(error) or getattr(error, "errno", None) == errno.ENOSPC


def _size_bytes(folder: Path) -> int:
    return sum(Path(place, name).lstat().st_size for place, _, names in os.walk(folder) for name in names)
