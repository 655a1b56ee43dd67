"""Which files wheel and sdist have, and where: in a folder of their own, so that nothing is made in the clone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from queuecast.wheel.names import INSTALLED_IN, PACKAGES, rewritten

#: Beside the packages: what describes the project, and what `queuecast run` reads.
_FILES = ("pyproject.toml", "requirements.txt", "README.md", "Procfile")
#: In a wheel, inside of the package.
_INSIDE = ("Procfile",)
_NOT_INSTALLED = Path(__file__).parent.name
_CACHES = ("__pycache__", "*.pyc", "*.egg-info")


def copy_sources(root: Path, stage: Path) -> None:
    """Copy what an sdist has: the layout of the clone, from which `stage_wheel` makes the same wheel."""
    for package in (INSTALLED_IN, *PACKAGES):
        shutil.copytree(root / package, stage / package, ignore=shutil.ignore_patterns(*_CACHES))
    for name in _FILES:
        shutil.copyfile(root / name, stage / name)
    lines = [f"graft {package}" for package in (INSTALLED_IN, *PACKAGES)] + [f"include {name}" for name in _FILES]
    (stage / "MANIFEST.in").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _close(stage)


def stage_wheel(root: Path, stage: Path) -> None:
    """Copy what a wheel is made of: one package, with rewritten names."""
    package = stage / INSTALLED_IN
    ignored = shutil.ignore_patterns(*_CACHES, _NOT_INSTALLED)
    shutil.copytree(root / INSTALLED_IN, package, ignore=ignored)
    for name in PACKAGES:
        shutil.copytree(root / name, package / name, ignore=shutil.ignore_patterns(*_CACHES))
    modules = set(modules_of(root))
    for path in package.rglob("*.py"):
        path.write_text(rewritten(path.read_text(encoding="utf-8"), modules), encoding="utf-8")
    for name in _FILES:
        shutil.copyfile(root / name, (package if name in _INSIDE else stage) / name)
    _close(stage)


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
