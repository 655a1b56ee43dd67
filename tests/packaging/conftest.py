"""The wheel of this repository, and an environment in which it is installed and this repository is not."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from distributions import build_client
from tests.support.service.environment import REPOSITORY, clean_environment


def build(kind: str, root: Path, folder: Path) -> Path:
    """Build a `wheel` or an `sdist` of a project as installers do; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    hook = f"from distributions import backend; backend.build_{kind}({str(folder)!r})"
    done = subprocess.run(
        [sys.executable, "-c", hook], cwd=root, env=clean_environment(PYTHONPATH=".ci"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [path] = folder.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return path


def build_client_wheel(folder: Path) -> Path:
    """Build the wheel of the client, without a network; return its path."""
    build_client.write_tree(folder / "client")
    hook = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", hook], cwd=folder / "client", check=True, capture_output=True)
    [path] = folder.glob("queuecast_client-*.whl")
    return path


class Installed:
    """An environment with a wheel, and the libraries of the tests' own environment beside it."""

    def __init__(self, folder: Path, *wheels: Path) -> None:
        self.folder = folder
        venv.create(folder, symlinks=True)
        self.packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
        # A path alone: the editable installation of this repository is a .pth file there, which nobody reads.
        (self.packages / "of_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
        uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--compile-bytecode"]
        subprocess.run([*uv, "--python", str(self.python), *map(str, wheels)], check=True)

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def queuecast(self) -> str:
        """Its command."""
        return str(self.folder / "bin" / "queuecast")

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the variables of its processes: nothing of this repository."""
        kept = {name: value for name, value in clean_environment().items() if name != "PYTHONPATH"}
        return {**kept, "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.defpath}", **variables}

    def run(self, *arguments: str, cwd: Path, env: dict[str, str] | None = None, timeout_s: float = 100) -> str:
        """Run `python <arguments>` to its end; return what it prints."""
        done = subprocess.run(
            [str(self.python), *arguments],
            cwd=cwd, env=env or self.environment(), capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this repository."""
    return build("wheel", REPOSITORY, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """An environment with this wheel."""
    folder = tmp_path_factory.mktemp("installed")
    return Installed(folder / "venv", wheel, build_client_wheel(folder))
