"""Environments of workers: built once, shared, deleted when room is needed, and whole or not there."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from registry.environments.cache import EnvironmentCache
from registry.environments.environment import Environment
from registry.environments.locking import locked
from registry.errors import EnvironmentBuildFailed, EnvironmentsOff
from registry.settings import RegistrySettings
from tests.support.environments.wheels import make_wheel
from tests.support.service.environment import REPOSITORY
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

#: Builds an environment as a worker does: Python and lock are the arguments; each step is a line.
BUILDER = """
import sys
from registry.environments.cache import EnvironmentCache
from registry.environments.environment import Environment
from registry.settings import RegistrySettings
held = EnvironmentCache(RegistrySettings()).hold(Environment.of(*sys.argv[1:]), lambda step: print(step, flush=True))
print(held.python, flush=True)
"""


@pytest.fixture
def environment(allowed: RegistrySettings) -> Environment:
    return locked({"requirements": ["polite"]}, allowed)


@pytest.fixture
def silent_index() -> Iterator[str]:
    """The URL of an index that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/simple"


def builder(environment: Environment, **env: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILDER, environment.python, environment.lock]
    return subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True)


def output_of(python: str, program: str) -> str:
    return subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def names(settings: RegistrySettings) -> set[str]:
    """The environments that are there, and what is left of builds, without the cache that builds share."""
    folder = settings.environment_cache_dir
    return {each.name for each in folder.iterdir() if each.is_dir()} - {"downloads"}


def test_an_environment_has_its_packages_and_nothing_else(allowed: RegistrySettings, environment: Environment) -> None:
    steps: list[str] = []
    held = EnvironmentCache(allowed).hold(environment, steps.append)
    assert steps[1:] == [f"getting Python {environment.python}", "installing 2 packages"]
    assert output_of(held.python, "import greeting, polite; print(greeting.VERSION, polite.VERSION)") == "1.0 1.0"
    assert output_of(held.python, "import importlib.util as util; print(util.find_spec('pydantic'))") == "None"
    assert names(allowed) == {environment.sha256}


def test_an_environment_is_built_once(allowed: RegistrySettings, environment: Environment) -> None:
    assert EnvironmentCache(allowed).held(environment.sha256) is None
    first = EnvironmentCache(allowed).hold(environment)
    steps: list[str] = []
    assert EnvironmentCache(allowed).hold(environment, steps.append).python == first.python
    assert steps == []
    again = EnvironmentCache(allowed).held(environment.sha256)
    assert again is not None
    assert again.python == first.python


def test_two_workers_that_want_the_same_at_once_build_it_once(
    allowed: RegistrySettings, environment: Environment
) -> None:
    both = [builder(environment) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert len({lines[-1] for lines in outputs}) == 1
    assert sum("installing 2 packages" in lines for lines in outputs) == 1
    assert names(allowed) == {environment.sha256}


def test_a_build_that_is_killed_leaves_nothing_that_counts(
    allowed: RegistrySettings, environment: Environment, silent_index: str
) -> None:
    process = builder(environment, QUEUECAST_WHEELS=silent_index)
    assert process.stdout is not None
    assert any(line == "installing 2 packages\n" for line in process.stdout)
    children = eventually(psutil.Process(process.pid).children)
    process.kill()
    process.communicate()
    assert EnvironmentCache(allowed).held(environment.sha256) is None
    assert [name for name in names(allowed) if name.startswith("unfinished-")]
    for child in children:
        child.kill()
    held = EnvironmentCache(allowed).hold(environment)
    assert output_of(held.python, "import greeting; print(greeting.VERSION)") == "1.0"
    assert names(allowed) == {environment.sha256}


def test_a_worker_that_stops_kills_its_build_and_begins_no_other(
    allowed: RegistrySettings, environment: Environment, silent_index: str
) -> None:
    cache = EnvironmentCache(allowed.model_copy(update={"wheels": silent_index}))
    failed: list[EnvironmentBuildFailed] = []
    installing = threading.Event()

    def build() -> None:
        try:
            cache.hold(environment, lambda step: installing.set() if step.startswith("installing") else None)
        except EnvironmentBuildFailed as error:
            failed.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    assert installing.wait(60)
    cache.close()
    thread.join(60)
    assert [str(error).partition(": ")[2] for error in failed] == ["the worker is stopping"]
    assert names(allowed) == set()
    with pytest.raises(EnvironmentBuildFailed, match="the worker is stopping"):
        cache.hold(environment)


def test_a_file_that_is_not_the_locked_one_is_not_installed(
    allowed: RegistrySettings, environment: Environment, tmp_path: Path
) -> None:
    for name in ("greeting", "polite"):
        make_wheel(tmp_path / "others", name, "1.0", {f"{name}.py": "VERSION = 'another'\n"})
    with pytest.raises(EnvironmentBuildFailed, match="Hash mismatch for"):
        EnvironmentCache(allowed.model_copy(update={"wheels": str(tmp_path / "others")})).hold(environment)
    assert names(allowed) == set()


def test_a_python_that_is_not_there_is_named(allowed: RegistrySettings) -> None:
    absent = Environment.of("3.99", locked({"requirements": ["greeting"]}, allowed).lock)
    with pytest.raises(EnvironmentBuildFailed, match=r"3\.99"):
        EnvironmentCache(allowed).hold(absent)


@pytest.fixture
def fetched() -> list[str]:
    """The wheels that have been downloaded from the index, one entry for each time."""
    return []


@pytest.fixture
def served_wheels(tmp_path: Path, wheels: Path, fetched: list[str]) -> Iterator[str]:
    """The URL of an index that has these wheels."""
    for wheel in wheels.iterdir():
        package = tmp_path / "simple" / wheel.name.partition("-")[0]
        package.mkdir(parents=True, exist_ok=True)
        shutil.copy(wheel, package)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path.endswith(".whl"):
                fetched.append(self.path.rpartition("/")[2])
            super().do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/simple"
        server.shutdown()
        thread.join()


def test_packages_come_from_an_index_just_as_from_a_folder(
    allowed: RegistrySettings, environment: Environment, served_wheels: str
) -> None:
    by_index = allowed.model_copy(update={"wheels": served_wheels})
    assert locked({"requirements": ["polite"]}, by_index) == environment
    held = EnvironmentCache(by_index).hold(environment)
    assert output_of(held.python, "import greeting; print(greeting.VERSION)") == "1.0"


def test_environments_share_what_was_downloaded_and_its_files(
    allowed: RegistrySettings, environment: Environment, served_wheels: str, fetched: list[str]
) -> None:
    by_index = allowed.model_copy(update={"wheels": served_wheels})
    other = locked({"requirements": ["greeting==1.0"]}, allowed)
    held = [EnvironmentCache(by_index).hold(each) for each in (environment, other)]
    assert sorted(fetched) == ["greeting-1.0-py3-none-any.whl", "polite-1.0-py3-none-any.whl"]
    places = [output_of(each.python, "import greeting; print(greeting.__file__)") for each in held]
    assert len({(Path(place).stat().st_dev, Path(place).stat().st_ino) for place in places}) == 1
    assert len(set(places)) == 2


def test_downloads_go_before_any_environment_when_room_is_needed(
    allowed: RegistrySettings, environment: Environment
) -> None:
    """And all of them, since uv relies on each: the next build downloads again."""
    EnvironmentCache(allowed).hold(environment).release()
    downloads = allowed.environment_cache_dir / "downloads"
    (downloads / "of-another-release").write_bytes(bytes(1_000_000))
    other = locked({"requirements": ["rude"]}, allowed)
    EnvironmentCache(allowed.model_copy(update={"environment_cache_max_bytes": 1_000_000})).hold(other).release()
    assert names(allowed) == {environment.sha256, other.sha256}
    assert not downloads.exists()
    third = locked({"requirements": ["greeting==1.0"]}, allowed)
    held = EnvironmentCache(allowed).hold(third)
    assert output_of(held.python, "import greeting; print(greeting.VERSION)") == "1.0"
    assert downloads.exists()


def test_downloads_that_environments_have_as_well_take_no_room(
    allowed: RegistrySettings, environment: Environment
) -> None:
    EnvironmentCache(allowed).hold(environment).release()
    kept = allowed.environment_cache_dir / "downloads"
    linked = [each for each in kept.rglob("greeting.py") if each.stat().st_nlink > 1]
    assert linked
    linked[0].write_bytes(bytes(2_000_000))  # in the environment, too, whose size was measured before
    roomy = allowed.model_copy(update={"environment_cache_max_bytes": 1_000_000})
    EnvironmentCache(roomy).hold(locked({"requirements": ["rude"]}, allowed)).release()
    assert linked[0].exists()


def test_a_build_that_takes_too_long_is_given_up(
    allowed: RegistrySettings, environment: Environment, silent_index: str
) -> None:
    impatient = allowed.model_copy(update={"wheels": silent_index, "environment_timeout_s": 2.0})
    with pytest.raises(EnvironmentBuildFailed, match="took longer than 2 s"):
        EnvironmentCache(impatient).hold(environment)


def test_the_least_recently_used_goes_first_and_what_is_used_stays(allowed: RegistrySettings) -> None:
    small = allowed.model_copy(update={"environment_cache_max_bytes": 1})
    one, two, three = (locked({"requirements": [each]}, allowed) for each in ("greeting==1.0", "greeting", "rude"))
    used = EnvironmentCache(small).hold(one)
    EnvironmentCache(small).hold(two).release()
    assert names(allowed) == {one.sha256, two.sha256}
    EnvironmentCache(small).hold(three).release()
    assert names(allowed) == {one.sha256, three.sha256}
    used.release()
    EnvironmentCache(small).hold(two).release()
    assert names(allowed) == {two.sha256}


@pytest.mark.parametrize("facts", ["", "{}", "[]", '{"size_bytes": null}', "\udcff"])
def test_an_environment_whose_facts_are_damaged_is_unfinished(
    allowed: RegistrySettings, environment: Environment, facts: str
) -> None:
    """Another one takes its room, and a process that wants it builds it again."""
    damaged = [allowed.environment_cache_dir / sha256 for sha256 in (environment.sha256, "a" * 64)]
    for folder in damaged:
        folder.mkdir(parents=True)
        (folder / "queuecast.json").write_text(facts, encoding="utf-8", errors="surrogateescape")
    cache = EnvironmentCache(allowed)
    assert cache.held(environment.sha256) is None
    held = cache.hold(environment)
    assert output_of(held.python, "import greeting; print(greeting.VERSION)") == "1.0"
    assert names(allowed) == {environment.sha256}


def test_a_damaged_environment_that_another_process_uses_is_left_alone(
    allowed: RegistrySettings, environment: Environment
) -> None:
    used = EnvironmentCache(allowed).hold(environment)
    (Path(used.python).parents[1] / "queuecast.json").write_text("", encoding="utf-8")
    with pytest.raises(EnvironmentBuildFailed, match="its folder is damaged, and another process uses it"):
        EnvironmentCache(allowed).hold(environment)
    other = EnvironmentCache(allowed).hold(locked({"requirements": ["rude"]}, allowed))
    assert output_of(used.python, "import greeting; print(greeting.VERSION)") == "1.0"
    used.release()
    again = EnvironmentCache(allowed).hold(environment)
    assert again.python == used.python
    other.release()


@contextmanager
def small_disk(folder: Path, size_kib: int) -> Iterator[Path]:
    """A file system of this size."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small file system can't be mounted here: that is root's right")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_a_clear_failure_and_keeps_nothing(
    allowed: RegistrySettings, environment: Environment, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "full", 16) as disk:
        there = allowed.model_copy(update={"environment_cache_dir": disk / "here"})
        with pytest.raises(EnvironmentBuildFailed, match="No space left on device"):
            EnvironmentCache(there).hold(environment)
        assert [each for each in there.environment_cache_dir.iterdir() if each.is_dir()] == []


def test_a_disk_that_is_full_of_downloads_has_room_for_a_build(
    allowed: RegistrySettings, environment: Environment, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "full", 2_048) as disk:
        there = allowed.model_copy(update={"environment_cache_dir": disk / "here"})
        downloads = there.environment_cache_dir / "downloads"
        downloads.mkdir(parents=True)
        with suppress(OSError), (downloads / "of-many-packages").open("wb") as file:
            while True:
                file.write(bytes(4_096))
                file.flush()
        steps: list[str] = []
        held = EnvironmentCache(there).hold(environment, steps.append)
        shown = output_of(held.python, "import greeting; print(greeting.VERSION)")
        held.release()  # else the file system can't be unmounted
    assert shown == "1.0"
    assert "building again: the disk was full of downloads" in steps


def test_without_permission_nothing_is_built_or_used(allowed: RegistrySettings, environment: Environment) -> None:
    EnvironmentCache(allowed).hold(environment).release()
    off = EnvironmentCache(allowed.model_copy(update={"environments": "off"}))
    with pytest.raises(EnvironmentsOff, match="QUEUECAST_ENVIRONMENTS=on"):
        off.hold(environment)
    with pytest.raises(EnvironmentsOff, match="QUEUECAST_ENVIRONMENTS=on"):
        off.held(environment.sha256)
