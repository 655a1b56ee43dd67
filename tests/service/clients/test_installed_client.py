"""queuecast-client as it is installed: built, and run on the oldest and on the newest of what it says it works with."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from distributions import build_client
from tests.support.environments import interpreters
from tests.support.service.environment import REPOSITORY, clean_environment
from tests.support.service.stack import Stack

MAIN_PATH = REPOSITORY / "tests" / "service" / "programs" / "client_main_path.py"
#: What `import queuecast_client` may load beside the standard library: httpx, and what that needs.
LOADED = {
    "queuecast_client", "httpx", "httpcore", "h11", "anyio", "sniffio", "idna", "certifi", "exceptiongroup",
    "typing_extensions", "rfc3986", "charset_normalizer",
}  # fmt: skip
TYPED = """
import asyncio
from queuecast_client import AsyncClient, Client, ClientError, JobFailed
client = Client("http://127.0.0.1:8000")
reveal_type(client.submit("e", 1).wait().outcome.version)
reveal_type(client.subscriptions()[0].events)
reveal_type([each for each in client.map_unordered("e", [1])])
async def main() -> None:
    async with AsyncClient() as service:
        reveal_type(await service.submit("e", 1, priority="high"))
asyncio.run(main())
client.deploy(5)
client.submit("e", 1, priority="urgent")
"""


def run(*command: str | Path, **variables: str) -> str:
    done = subprocess.run(
        list(map(str, command)), env=clean_environment(**variables), capture_output=True, text=True, timeout=110,
        check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def oldest_python() -> str:
    """Return the interpreter of the lowest version that is here, which may be that of these tests."""
    found = {name: place for name, place in interpreters.others().items() if name.startswith("cpython")}
    found[f"cpython3.{sys.version_info.minor}"] = sys.executable
    return found[min(found, key=lambda name: int(name.rpartition(".")[2]))]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    build_client.build(folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    [found] = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def pythons(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Clean environments with the wheel alone: the oldest Python with the lowest versions, ours with the newest."""
    folder = tmp_path_factory.mktemp("environments")
    uv = [sys.executable, "-m", "uv"]
    wanted = {"lowest": (oldest_python(), "lowest-direct"), "newest": (sys.executable, "highest")}
    for name, (python, resolution) in wanted.items():
        run(*uv, "venv", "--quiet", "--python", python, folder / name)
        place = folder / name / "bin" / "python"
        run(*uv, "pip", "install", "--quiet", "--python", place, "--resolution", resolution, f"{wheel}[tables]")
    return {name: folder / name / "bin" / "python" for name in wanted}


def test_the_wheel_has_the_client_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        texts = {name: archive.read(name).decode() for name in names if not name.endswith("/")}
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"queuecast_client"}
    assert "queuecast_client/py.typed" in names
    # One module knows the client's name in a clone: it refuses a second copy.
    ours = {name: text for name, text in texts.items() if name != "queuecast_client/copies.py"}
    assert not [name for name, text in ours.items() if "api.client" in text or "from api" in text]
    [metadata] = [text for name, text in texts.items() if name.endswith("METADATA")]
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra" not in line]
    assert [line.partition(": ")[2].partition("<")[0] for line in required] == ["httpx"]
    assert f"Version: {build_client.version()}" in metadata


@pytest.mark.long
def test_the_sdist_builds_the_same_wheel(built: Path, wheel: Path, tmp_path: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    run(sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", tmp_path, next(tmp_path.glob("*/")))
    [again] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert {each.filename: each.CRC for each in first.infolist()} == {
            each.filename: each.CRC for each in second.infolist()
        }


@pytest.mark.parametrize("versions", ["lowest", "newest"])
def test_the_main_path_runs_with_the_oldest_and_the_newest(
    pythons: Mapping[str, Path], registered: Stack, name: str, versions: str
) -> None:
    registered.deploy("quadratic_predictor", endpoint_name=name)
    registered.wait_for_status(name, "active")
    shown = run(pythons[versions], "-I", "-W", "error", MAIN_PATH, registered.url, name)
    assert shown.startswith("all done on 3.")


@pytest.mark.parametrize("versions", ["lowest", "newest"])
def test_an_import_loads_httpx_and_takes_little_beside_it(pythons: Mapping[str, Path], versions: str) -> None:
    program = """
import json, sys, time
before = set(sys.modules)
began = time.process_time()
import httpx
httpx.Client
middle = time.process_time()
import queuecast_client
ended = time.process_time()
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps([sorted(loaded - set(sys.stdlib_module_names)), middle - began, ended - middle]))
""".replace("set(sys.stdlib_module_names)", repr(set(sys.stdlib_module_names)))
    run(pythons[versions], "-I", "-c", "import queuecast_client")  # compiled from now on
    runs = [json.loads(run(pythons[versions], "-I", "-c", program)) for _ in range(5)]
    loaded = runs[0][0]
    assert {name for name in loaded if not name.startswith("_")} <= LOADED
    # Of processor time, as others have the processor, too: about 0.8 times. Celery or Flask would take five times.
    assert min(ours_s for _, _, ours_s in runs) < 2 * min(httpx_s for _, httpx_s, _ in runs)


@pytest.mark.long
def test_a_program_of_others_is_checked_for_its_types(pythons: Mapping[str, Path], tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(TYPED)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", pythons["lowest"], "program.py"],
        cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    revealed = [line.partition('"')[2].rstrip('"') for line in done.stdout.splitlines() if "Revealed" in line]
    assert revealed == [
        "str", "list[str]", "list[tuple[int, Any]]", "queuecast_client.jobs.AsyncJob",
    ], done.stdout  # fmt: skip
    assert "Found 2 errors" in done.stdout, done.stdout
    assert 'Argument 1 to "deploy"' in done.stdout
    assert 'Argument "priority" to "submit"' in done.stdout
