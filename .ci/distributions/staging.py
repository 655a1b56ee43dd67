"""Which files wheel and sdist have, and where: in a folder of their own, so that nothing is made in the clone."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

from distributions.names import INSTALLED_IN, PACKAGES, rewritten

#: Beside the packages: what describes the project, and what `queuecast run` reads.
_FILES = ("pyproject.toml", "README.md", "Procfile")
#: What a clone has besides: the client by the name of its own distribution, which the wheel requires.
_OF_CLONES = "queuecast_client.py"
_AS_MODULE = 'py-modules = ["queuecast_client"]\n'
_CLIENT = Path("api", "client")
#: In a wheel, inside of the package.
_INSIDE = ("Procfile",)
#: The documentation, for `queuecast docs`: without its pictures and the results of measurements, which are most of it.
_DOCS = "docs"
_NOT_OF_DOCS = ("images", "performance.json", "soak.json")
#: This build, which an sdist has, too, and the ranges of what the wheel requires.
_BUILD = ".ci/distributions"
_RANGES = f"{_BUILD}/dependencies.txt"
_CACHES = ("__pycache__", "*.pyc", "*.egg-info")


def copy_sources(root: Path, stage: Path) -> None:
    """Copy what an sdist has: the layout of the clone, from which `stage_wheel` makes the same wheel."""
    folders, files = (INSTALLED_IN, *PACKAGES, _BUILD), (*_FILES, _OF_CLONES)
    for name in folders:
        shutil.copytree(root / name, stage / name, ignore=shutil.ignore_patterns(*_CACHES))
    for name in files:
        shutil.copyfile(root / name, stage / name)
    _copy_docs(root, stage)
    lines = [f"graft {name}" for name in (*folders, _DOCS)] + [f"include {name}" for name in files]
    (stage / "MANIFEST.in").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _close(stage)


def stage_wheel(root: Path, stage: Path) -> None:
    """Copy what a wheel is made of: one package, with rewritten names."""
    package = stage / INSTALLED_IN
    shutil.copytree(root / INSTALLED_IN, package, ignore=shutil.ignore_patterns(*_CACHES))
    for name in PACKAGES:
        shutil.copytree(root / name, package / name, ignore=shutil.ignore_patterns(*_CACHES))
    shutil.rmtree(package / _CLIENT)
    _copy_docs(root, package)
    modules = set(modules_of(root))
    for path in package.rglob("*.py"):
        path.write_text(rewritten(path.read_text(encoding="utf-8"), modules), encoding="utf-8")
    for name in _FILES:
        shutil.copyfile(root / name, (package if name in _INSIDE else stage) / name)
    (stage / _RANGES).parent.mkdir(parents=True)
    shutil.copyfile(root / _RANGES, stage / _RANGES)
    _require_client(stage)
    _close(stage)


def _copy_docs(root: Path, target: Path) -> None:
    shutil.copytree(root / _DOCS, target / _DOCS, ignore=shutil.ignore_patterns(*_NOT_OF_DOCS))


def _require_client(stage: Path) -> None:
    """Have the wheel require the client, in the version that belongs to it, instead of bringing it."""
    project = stage / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    version = tomllib.loads(text)["project"]["version"]
    assert _AS_MODULE in text  # noqa: S101 - else the wheel would have the client at its top
    project.write_text(text.replace(_AS_MODULE, ""), encoding="utf-8")
    with (stage / _RANGES).open("a", encoding="utf-8") as dependencies:
        dependencies.write(f"queuecast-client=={version}\n")


def modules_of(root: Path) -> Iterator[str]:
    """Yield the dotted names of the modules of a clone."""
    for package in PACKAGES:
        for path in (root / package).rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _close(stage: Path) -> None:
    """Give each file the same rights, whatever those in the clone: archives keep them."""
    for path in stage.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
